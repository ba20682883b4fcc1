// SPDX-License-Identifier: BSL-1.0
//
// A test in virtual time, and a deadlock that is reported, as in docs/guide/testing.md.
#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/semaphore.hpp>
#include <coir/testing.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

using namespace std::chrono_literals;

namespace {

void expect(bool condition)
{
    if (!condition)
        std::abort();
}

void receive_for_gives_up_at_its_deadline()
{
    coir::testing::run([] {
        coir::channel<int> numbers;
        const auto begin = coir::clock::now();
        expect(!numbers.receive_for(1h));
        expect(coir::clock::now() - begin == 1h);
    });
}

void the_order_is_fixed()
{
    coir::testing::run([] {
        coir::testing::sequencer order;
        coir::event full;
        bool seen = false;
        coir::fiber reader{[&] {
            order.at(1);
            seen = full.is_set();
        }};
        coir::fiber writer{[&] {
            order.at(0);
            full.set();
        }};
        reader.join();
        expect(seen);
    });
}

void any_order_will_do()
{
    std::set<std::string> orders;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        std::string log;
        coir::testing::schedule plan{.seed = seed};
        coir::testing::run(plan, [&] {
            coir::fiber a{[&] { log += 'a'; }};
            coir::fiber b{[&] { log += 'b'; }};
            a.join();
            b.join();
        });
        orders.insert(log);
    }
    expect(orders == std::set<std::string>{"ab", "ba"});
}

struct seat {
    explicit seat(coir::counting_semaphore<>& from) : seats{from} { seats.acquire(); }
    ~seat() { seats.release(); }
    coir::counting_semaphore<>& seats;
};

void whoever_is_cancelled_gives_back_what_it_has()
{
    const auto waits = coir::testing::cancel_each_wait(7, [] {
        coir::counting_semaphore<> seats{2};
        coir::fiber_group guests;
        for (int i = 0; i < 3; ++i)
            guests.spawn([&] {
                const seat taken{seats};
                coir::this_fiber::sleep_for(1h);
            });
        guests.join();
        expect(seats.try_acquire() && seats.try_acquire()); // both have been given back
    });
    expect(waits == 4); // three sleep, and one of them waits for a seat
}

void a_deadlock_is_an_exception()
{
    try {
        coir::testing::run([] {
            coir::event never_set;
            coir::fiber waiter{{.name = "waiter"}, [&] { never_set.wait(); }};
            waiter.join();
        });
    } catch (const coir::deadlock& report) {
        std::printf("%s", report.what());
    }
}

} // namespace

int main()
{
    receive_for_gives_up_at_its_deadline();
    the_order_is_fixed();
    any_order_will_do();
    whoever_is_cancelled_gives_back_what_it_has();
    a_deadlock_is_an_exception();
}
