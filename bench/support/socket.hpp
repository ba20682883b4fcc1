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

/// `flags` may be SOCK_NONBLOCK.
inline int listen_on_loopback(int flags = 0)
{
    std::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    must(listener >= 0, "socket");
    auto address = loopback(0);
    must(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
    must(::listen(listener, 4096) == 0, "listen");
    socklen_t size = sizeof address;
    must(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
    announce(ntohs(address.sin_port));
    return listener;
}

inline void no_delay(int socket)
{
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

} // namespace bench
