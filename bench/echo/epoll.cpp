// SPDX-License-Identifier: BSL-1.0
#include "epoll_echo.hpp"

int main()
{
    bench::epoll_echo(bench::listen_on_loopback(SOCK_NONBLOCK));
}
