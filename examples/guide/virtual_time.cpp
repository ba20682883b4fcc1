// SPDX-License-Identifier: BSL-1.0
//
// A test in virtual time, and a deadlock that is reported, as in docs/guide/testing.md.
#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <cstdio>
#include <cstdlib>

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
    a_deadlock_is_an_exception();
}
