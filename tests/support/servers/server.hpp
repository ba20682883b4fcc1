// SPDX-License-Identifier: BSL-1.0
#pragma once
// Real servers for the tests: started by the first test case that wants one, on loopback ports that are free, with a
// directory of their own, and gone with the test program, however that ends (keeper.cpp). Start them on the main
// thread and outside of fibers: the keeper dies with the thread that started it.
#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

namespace clients {

/// Where `program` is: in /usr/lib/postgresql/*/bin, /usr/lib/rabbitmq/bin, $PATH or /usr/sbin. Fails the test case if
/// it is nowhere.
std::string program(const std::string& name, const std::string& debian_package);

/// A port on 127.0.0.1 that nobody uses at this moment.
int free_port();
/// A blocking socket, or -1.
int connect_to(int port);
bool accepts_connections(int port);

/// A port on 127.0.0.1 where nobody answers: connections are made, but not accepted.
class silent_port {
public:
    silent_port();
    silent_port(const silent_port&) = delete;
    silent_port& operator=(const silent_port&) = delete;
    ~silent_port();
    int port() const noexcept { return port_; }

protected:
    explicit silent_port(int backlog);

private:
    int listener_;
    int port_;
};

/// One where connections are not even made: its backlog is full.
class full_port : public silent_port {
public:
    full_port();
    ~full_port();

private:
    int filler_;
};

class server_process {
public:
    explicit server_process(const std::string& name);
    server_process(const server_process&) = delete;
    server_process& operator=(const server_process&) = delete;
    ~server_process();

    /// Temporary, and the server's working directory. Files of its own may be put there before `start`.
    const std::filesystem::path& directory() const noexcept { return directory_; }
    /// `command` is for /bin/sh. `user` is who it runs as when we are root; empty for us.
    void start(const std::string& command, const char* user, int stop_signal);
    /// As nobody asked it to.
    bool has_ended() const;
    std::string log() const;
    pid_t pid() const;
    /// With all that come from it. Returns once the server's own process is gone.
    void kill();

private:
    std::filesystem::path directory_;
    pid_t keeper_ = -1;
};

/// Stops a server's process and all that come from it while it lives, or until `resume`: whoever asks for something
/// waits.
class paused {
public:
    explicit paused(const server_process& server);
    paused(const paused&) = delete;
    paused& operator=(const paused&) = delete;
    ~paused() { resume(); }
    void resume();

private:
    pid_t server_;
};

/// Starts a `Server`, whose constructor starts its process and whose `is_ready()` says when it can be used. Another
/// process may take the port between our choice and the server's start; then it is tried again. Empty, or what failed.
template <class Server> std::string try_to_start(std::optional<Server>& server)
{
    std::string log;
    for (int attempts = 0; attempts < 3; ++attempts) {
        server.emplace();
        for (int tries = 0; tries < 5000 && !server->process.has_ended(); ++tries) {
            if (server->is_ready() && !server->process.has_ended())
                return {};
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
        log = server->process.log();
        server.reset();
        if (log.find("ddress already in use") == std::string::npos)
            break;
    }
    return "the server did not start; its log:\n" + log;
}

template <class Server> void start(std::optional<Server>& server)
{
    if (const auto failure = try_to_start(server); !failure.empty())
        FAIL(failure);
}

/// The one that the test program's cases share; another one after one of them has killed it. If it does not start, all
/// of them fail.
template <class Server> Server& shared()
{
    static std::optional<Server> server;
    static std::string failure;
    if (server && server->process.has_ended())
        server.reset();
    if (!server && failure.empty())
        failure = try_to_start(server);
    if (!failure.empty())
        FAIL(failure);
    return *server;
}

/// An HTTP and TLS server of threads (peer.cpp), with a certificate for 127.0.0.1 and localhost.
struct peer_server {
    peer_server();
    bool is_ready() const;
    std::string file(const char* name) const { return (process.directory() / name).string(); }
    /// Signed by itself, and another one, which has signed nothing.
    std::string certificate() const { return file("certificate.pem"); }
    std::string wrong_certificate() const { return file("other.pem"); }

    server_process process{"peer"};
    int port = free_port();
    int tls_port = free_port();
};

/// nginx with HTTP and HTTPS, with the peer behind /peer/.
///
///     /small      "small\n"
///     /big        ten million bytes
///     /redirect   to /small
struct web_server {
    web_server();
    bool is_ready() const;
    std::string http(const std::string& path) const;
    std::string https(const std::string& path) const;

    peer_server& peer = shared<peer_server>();
    server_process process{"nginx"};
    int port = free_port();
    int tls_port = free_port();
};

struct redis_server {
    redis_server();
    bool is_ready() const { return accepts_connections(port); }

    server_process process{"redis"};
    int port = free_port();
};

} // namespace clients
