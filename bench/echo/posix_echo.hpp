// SPDX-License-Identifier: BSL-1.0
#pragma once
// What a thread or a fiber does with its connection: plain POSIX calls.
#include "socket.hpp"

namespace bench {

inline void echo_all(int client)
{
    no_delay(client);
    char data[4096];
    for (ssize_t size; (size = ::read(client, data, sizeof data)) > 0;)
        if (::write(client, data, static_cast<std::size_t>(size)) != size)
            break;
    ::close(client);
}

/// Calls `start` with each connection.
template <class Start> [[noreturn]] void accept_all(int listener, Start start)
{
    for (;;) {
        const int client = ::accept(listener, nullptr, nullptr);
        must(client >= 0, "accept");
        start(client);
    }
}

} // namespace bench
