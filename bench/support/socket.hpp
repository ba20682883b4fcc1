// SPDX-License-Identifier: BSL-1.0
#pragma once
// A listening socket on loopback, and telling the harness where it is.
#include "bench.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {

inline void must(bool succeeded, const char* what)
{
    if (succeeded)
        return;
    std::perror(what);
    std::exit(1);
}

inline sockaddr_in loopback(number port)
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// What a server prints once it can be connected to.
inline void announce(number port)
{
    print({{"port", port}});
}

/// `flags` may be SOCK_NONBLOCK. Another may listen on the same port.
inline int listen_on(sockaddr_in address, int flags)
{
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    must(listener >= 0, "socket");
    const int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    must(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bind");
    must(::listen(listener, 4096) == 0, "listen");
    return listener;
}

inline sockaddr_in local_address(int socket)
{
    sockaddr_in address{};
    socklen_t size = sizeof address;
    must(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
    return address;
}

inline int listen_on_loopback(int flags = 0)
{
    std::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    const int listener = listen_on(loopback(0), flags);
    announce(ntohs(local_address(listener).sin_port));
    return listener;
}

/// Another listener on the same port: the kernel spreads the connections.
inline int share_port(int listener, int flags = 0)
{
    return listen_on(local_address(listener), flags);
}

inline void no_delay(int socket)
{
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

} // namespace bench
