// SPDX-License-Identifier: BSL-1.0
#pragma once
// Sockets that we make ourselves. O_NONBLOCK is on as long as connect and accept need it, for which the kernel has no
// flag of the call's own.
#include <coir/net/error.hpp>
#include <coir/net/unique_fd.hpp>

#include <sys/socket.h>

namespace coir::net {

/// With O_NONBLOCK, and close-on-exec.
unique_fd open_socket(int family, int type, int protocol, error_code& ec) noexcept;

void set_nonblocking(int descriptor, bool on, error_code& ec) noexcept;

/// Suspends until the connection is there.
void connect_socket(int socket, const sockaddr* to, socklen_t size, error_code& ec);

/// Binds it and listens.
void listen_socket(int socket, const sockaddr* at, socklen_t size, int backlog, error_code& ec) noexcept;

/// Does nothing if there is an error already.
void set_flag(int socket, int level, int option, bool on, error_code& ec) noexcept;

} // namespace coir::net
