// SPDX-License-Identifier: BSL-1.0
// Two hubs, a listener each; a fiber per connection, plain POSIX calls through the patch.
#include "posix_echo.hpp"

#include <coir/patch.hpp>
#include <coir/runtime.hpp>

namespace {

void start(int client)
{
    coir::fiber{bench::echo_all, client}.detach();
}

} // namespace

int main()
{
    coir::runtime hubs{{.hubs = 2}};
    coir::run_in(hubs, [&] {
        const int first = bench::listen_on_loopback();
        hubs.hub(1).post([second = bench::share_port(first)] { bench::accept_all(second, start); });
        bench::accept_all(first, start);
    });
}
