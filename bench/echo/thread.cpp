// SPDX-License-Identifier: BSL-1.0
// A thread per connection: the program that coir's would be without coir. The harness also runs it, as it is, under
// `coir run --threads=fibers`.
#include "posix_echo.hpp"

#include <thread>

int main()
{
    bench::accept_all(bench::listen_on_loopback(), [](int client) { std::thread{bench::echo_all, client}.detach(); });
}
