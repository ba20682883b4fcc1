// SPDX-License-Identifier: BSL-1.0
// Several hubs: placing work on all cores, keeping data on one, and ending in order.
#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/hub.hpp>
#include <coir/mutex.hpp>
#include <coir/runtime.hpp>

#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>

using namespace std::chrono_literals;

namespace {

long primes_below(long limit)
{
    long count = 0;
    for (long n = 2; n < limit; ++n) {
        bool prime = true;
        for (long d = 2; d * d <= n && prime; ++d)
            prime = n % d != 0;
        count += prime;
    }
    return count;
}

void on_all_cores()
{
    coir::mutex guard;
    long sum = 0;
    coir::run({.hubs = 4}, [&] {
        coir::fiber_group searches;
        for (long limit = 1000; limit <= 20'000; limit += 1000)
            searches.spawn({.on = coir::placement::any_hub}, [&, limit] {
                const long count = primes_below(limit);
                const std::scoped_lock lock{guard}; // they run at the same time
                sum += count;
            });
        searches.join();
    });
    std::printf("%ld primes\n", sum);
}

void among_the_fibers_of_one_hub()
{
    coir::run([] {
        int visitors = 0; // no lock: only fibers of this hub touch it
        coir::hub home = coir::this_hub();
        std::thread door{[&, home] {
            for (int i = 0; i < 3; ++i)
                home.post([&] { ++visitors; });
        }};
        while (visitors < 3)
            coir::this_fiber::sleep_for(1ms);
        door.join();
        std::printf("%d visitors\n", visitors);
    });
}

void ending_in_order()
{
    coir::event working;
    coir::event enough;
    coir::runtime workers{{.hubs = 2}};
    workers.start();
    workers.spawn({.name = "polite"}, [] { coir::this_fiber::sleep_for(1h); });
    workers.spawn({.name = "stubborn"}, [&] {
        const coir::shield deaf;
        working.set();
        enough.wait();
    });
    working.wait();

    const auto left = workers.shutdown(100ms);
    for (const auto& fiber : left.fibers)
        std::printf("still there: %s, waits for %s\n", fiber.name.c_str(), fiber.waiting_for.what);

    enough.set(); // or the destructor would wait for it for ever
}

} // namespace

int main()
{
    on_all_cores();
    among_the_fibers_of_one_hub();
    ending_in_order();
}
