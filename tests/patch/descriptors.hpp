// SPDX-License-Identifier: BSL-1.0
#pragma once
// Descriptors of every kind to test with. The stage closes them.
#include "native_diff.hpp"

#include <functional>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <vector>

struct two {
    int a;
    int b;
};

/// Connected to each other over loopback.
two tcp_pair(stage& on);
two udp_pair(stage& on);
two unix_pair(stage& on, int type = SOCK_STREAM);
/// a is the reading end.
two make_pipe(stage& on);
/// The two ends of one FIFO, opened separately. a is the reading end.
two make_fifo(stage& on);
/// a is the terminal, without line editing; b is its controller.
two make_terminal(stage& on);
/// An empty file, removed already.
int make_file(stage& on, const std::string& content = {});

struct tcp_listener {
    int descriptor;
    sockaddr_in address;
};
tcp_listener listen_tcp(stage& on, int backlog = 16);
/// Connects a new socket.
int connect_to(stage& on, const tcp_listener& where);
/// A port of loopback where nobody listens.
sockaddr_in refused_port();

template <class Address> const sockaddr* generic(const Address& address)
{
    return reinterpret_cast<const sockaddr*>(&address);
}

/// A directory that is removed with all that is in it.
class temporary_directory {
public:
    temporary_directory();
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;
    ~temporary_directory();
    std::string operator/(const std::string& name) const { return path_ + '/' + name; }

private:
    std::string path_;
};

/// Sends until the peer has taken all it can without reading; returns how much that was.
std::size_t fill(int descriptor);
/// Small buffers, so that "large" need not be large.
void shrink_buffers(int socket);
void set_timeout(int socket, int option, int milliseconds);
void set_nonblocking(int descriptor, bool on);
bool is_nonblocking(int descriptor);
std::string read_exactly(int descriptor, std::size_t size);

/// Something whose read waits until it is fed.
struct source {
    int descriptor;
    std::size_t size; ///< bytes to ask for
    std::function<void()> feed;
};
struct source_kind {
    const char* name;
    std::function<source(stage&)> make;
};
/// Every kind of descriptor whose read can wait.
const std::vector<source_kind>& sources();
