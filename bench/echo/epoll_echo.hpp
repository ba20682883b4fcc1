// SPDX-License-Identifier: BSL-1.0
#pragma once
// The reference: level-triggered epoll, a read and a write per message, nothing else.
#include "socket.hpp"

#include <sys/epoll.h>

namespace bench {

[[noreturn]] inline void epoll_echo(int listener)
{
    const int poller = ::epoll_create1(EPOLL_CLOEXEC);
    auto watch = [&](int descriptor) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = descriptor}};
        must(::epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) == 0, "epoll_ctl");
    };
    watch(listener);
    for (;;) {
        epoll_event events[512];
        const int count = ::epoll_wait(poller, events, 512, -1);
        for (int i = 0; i < count; ++i) {
            const int descriptor = events[i].data.fd;
            if (descriptor == listener) {
                for (int client; (client = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
                    no_delay(client);
                    watch(client);
                }
                continue;
            }
            char data[4096];
            const auto size = ::read(descriptor, data, sizeof data);
            if (size <= 0 || ::write(descriptor, data, static_cast<std::size_t>(size)) != size)
                ::close(descriptor);
        }
    }
}

} // namespace bench
