// SPDX-License-Identifier: BSL-1.0
// The reference's loop, on two threads with a listener each.
#include "epoll_echo.hpp"

#include <thread>

int main()
{
    const int first = bench::listen_on_loopback(SOCK_NONBLOCK);
    const int second = bench::share_port(first, SOCK_NONBLOCK);
    const std::jthread other{[second] { bench::epoll_echo(second); }};
    bench::epoll_echo(first);
}
