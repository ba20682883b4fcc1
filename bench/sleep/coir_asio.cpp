// SPDX-License-Identifier: BSL-1.0
// Asio's timers, awaited with use_fiber.
#include "sleeps.hpp"

#include <coir/asio.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <boost/asio/steady_timer.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    const auto milliseconds = bench::argument(argc, argv, 2, 1000);
    coir::run([&] {
        bench::sleeps sleeps{milliseconds};
        coir::fiber_group all;
        for (bench::number i = 0; i < fibers; ++i)
            all.spawn([&, i] {
                asio::steady_timer timer{coir::this_hub_io_context()};
                auto random = static_cast<std::uint32_t>(i) * 2654435761U + 1;
                for (auto now = sleeps.begin(); now < sleeps.end();) {
                    const auto length = bench::sleeps::next(random);
                    timer.expires_after(std::chrono::nanoseconds{length});
                    timer.async_wait(coir::use_fiber);
                    const auto woken = bench::time_of(CLOCK_MONOTONIC);
                    sleeps.record(woken - now - length, woken);
                    now = woken;
                }
            });
        all.join();
        sleeps.report();
    });
}
