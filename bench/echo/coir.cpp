// SPDX-License-Identifier: BSL-1.0
// A fiber per connection, plain POSIX calls through the patch.
#include "posix_echo.hpp"

#include <coir/patch.hpp>
#include <coir/runtime.hpp>

int main()
{
    coir::run([] {
        bench::accept_all(bench::listen_on_loopback(), [](int client) {
            coir::fiber{bench::echo_all, client}.detach();
        });
    });
}
