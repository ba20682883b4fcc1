// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>
#include <coir/wait_queue.hpp>

#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

/// A queue with the lock that guards it.
struct place {
    spin_lock lock;
    wait_queue queue;

    wake_cause wait(const wait_options& options = {})
    {
        wait_queue::guard held{lock};
        return queue.wait(held, options);
    }
    bool notify_one()
    {
        wait_queue::guard held{lock};
        return queue.notify_one(held);
    }
    void notify_all()
    {
        wait_queue::guard held{lock};
        queue.notify_all(held);
    }
    bool empty()
    {
        wait_queue::guard held{lock};
        return queue.empty(held);
    }
};

struct numbered : waiter {
    numbered(parking& owner, int of) : waiter{owner}, number{of} {}
    int number;
};

} // namespace

TEST_SUITE_BEGIN("wait_queue");

TEST_CASE("notify_one wakes the first of the queue, and tells whether there was one") {
    testing::run([] {
        place gate;
        std::string log;
        auto wait = [&](char letter) {
            CHECK(gate.wait() == wake_cause::notified);
            log += letter;
        };
        CHECK(!gate.notify_one());
        fiber a{wait, 'a'};
        fiber b{wait, 'b'};
        this_fiber::yield();
        CHECK(gate.notify_one());
        this_fiber::yield();
        CHECK(log == "a");
        CHECK(gate.notify_one());
        CHECK(!gate.notify_one());
        b.join();
        CHECK(log == "ab");
        CHECK(gate.empty());
    });
}

TEST_CASE("notify_all wakes everyone in order") {
    testing::run([] {
        place gate;
        std::string log;
        std::vector<fiber> fibers;
        for (char letter : {'a', 'b', 'c', 'd'})
            fibers.emplace_back([&, letter] {
                gate.wait();
                log += letter;
            });
        this_fiber::yield();
        gate.notify_all();
        CHECK(gate.empty());
        this_fiber::yield();
        CHECK(log == "abcd");
        gate.notify_all();
    });
}

TEST_CASE("a wait tells what ended it, and leaves the queue") {
    testing::run([] {
        place gate;
        CHECK(gate.wait({.deadline = clock::now() + 1s}) == wake_cause::timed_out);
        CHECK(gate.empty());
        {
            timeout limit{1s};
            CHECK(gate.wait() == wake_cause::deadline);
            CHECK(gate.wait({.deadline = clock::now() + 1h}) == wake_cause::deadline);
        }
        fiber other{[&] {
            CHECK(gate.wait() == wake_cause::cancelled);
            CHECK(gate.wait() == wake_cause::cancelled);
            CHECK(gate.empty());
        }};
        this_fiber::yield();
        other.cancel();
        other.join();
    });
}

TEST_CASE("a wait that may not be interrupted is ended by its notification and its own deadline only") {
    testing::run([] {
        place gate;
        const auto start = clock::now();
        fiber other{[&] {
            timeout limit{1s};
            CHECK(gate.wait({.deadline = start + 1h, .interruptible = false}) == wake_cause::timed_out);
            CHECK(clock::now() - start == 1h);
            CHECK(gate.wait({.interruptible = false}) == wake_cause::notified);
        }};
        this_fiber::yield();
        other.cancel();
        this_fiber::sleep_for(2h);
        gate.notify_one();
        other.join();
    });
}

TEST_CASE("the wait of a cancelled fiber does not begin") {
    testing::run([] {
        place gate;
        fiber other{[&] { CHECK(gate.wait() == wake_cause::cancelled); }};
        other.cancel();
        other.join();
        CHECK(gate.empty());
    });
}

TEST_CASE("one wait may stand in several queues, and the first notification takes it") {
    testing::run([] {
        place left;
        place right;
        int taken = -1;
        auto wait_for_either = [&] {
            parking self;
            numbered in_left{self, 1};
            numbered in_right{self, 2};
            {
                wait_queue::guard held{left.lock};
                left.queue.push(held, in_left);
            }
            {
                wait_queue::guard held{right.lock};
                right.queue.push(held, in_right);
            }
            const auto cause = self.park({.reason = {"either"}, .deadline = clock::now() + 1s});
            taken = self.taken() ? static_cast<const numbered*>(self.taken())->number : 0;
            {
                wait_queue::guard held{left.lock};
                left.queue.remove(held, in_left);
            }
            {
                wait_queue::guard held{right.lock};
                right.queue.remove(held, in_right);
            }
            return cause;
        };
        for (auto* notified : {&left, &right}) {
            fiber other{[&] { CHECK(wait_for_either() == wake_cause::notified); }};
            this_fiber::yield();
            auto* late = notified == &left ? &right : &left;
            CHECK(notified->notify_one());
            CHECK(!late->notify_one()); // it has been taken
            other.join();
            CHECK(taken == (notified == &left ? 1 : 2));
            CHECK(left.empty());
            CHECK(right.empty());
        }
        CHECK(wait_for_either() == wake_cause::timed_out);
        CHECK(taken == 0);
        CHECK(left.empty());
        CHECK(right.empty());
    });
}

TEST_CASE("pop_if takes the first waiter that is accepted and can still be woken") {
    testing::run([] {
        place gate;
        std::string log;
        std::vector<fiber> fibers;
        for (int number = 1; number <= 4; ++number)
            fibers.emplace_back([&, number] {
                parking self;
                numbered mine{self, number};
                wait_queue::guard held{gate.lock};
                if (gate.queue.wait(held, mine, {}) == wake_cause::notified)
                    log += std::to_string(number);
            });
        this_fiber::yield();
        auto even = [](waiter& candidate) { return static_cast<numbered&>(candidate).number % 2 == 0; };
        fibers[1].cancel(); // number 2, which has not left the queue yet
        wait_queue::guard held{gate.lock};
        auto* taken = gate.queue.pop_if(held, even);
        REQUIRE(taken != nullptr);
        CHECK(static_cast<numbered*>(taken)->number == 4);
        CHECK(gate.queue.pop_if(held, even) == nullptr);
        held.unlock();
        taken->wake();
        this_fiber::yield();
        CHECK(log == "4");
        gate.notify_all();
        this_fiber::yield();
        CHECK(log == "413");
    });
}

TEST_CASE("notify_if wakes up to so many of those that are accepted") {
    testing::run([] {
        place gate;
        std::string log;
        std::vector<fiber> fibers;
        for (int number = 1; number <= 6; ++number)
            fibers.emplace_back([&, number] {
                parking self;
                numbered mine{self, number};
                wait_queue::guard held{gate.lock};
                gate.queue.wait(held, mine, {});
                log += std::to_string(number);
            });
        this_fiber::yield();
        auto odd = [](waiter& candidate) { return static_cast<numbered&>(candidate).number % 2 == 1; };
        wait_queue::guard held{gate.lock};
        CHECK(gate.queue.notify_if(held, odd, 2) == 2);
        CHECK(!held.owns_lock());
        this_fiber::yield();
        CHECK(log == "13");
        held.lock();
        CHECK(gate.queue.notify_if(held, odd) == 1);
        held.lock();
        CHECK(gate.queue.notify_if(held, odd) == 0);
        this_fiber::yield();
        CHECK(log == "135");
        gate.notify_all();
        this_fiber::yield();
        CHECK(log == "135246");
    });
}

TEST_CASE("a parking that was claimed and woken before park does not suspend for good") {
    testing::run([] {
        parking self;
        CHECK(self.claim());
        CHECK(!self.claim());
        self.wake();
        CHECK(self.park({}) == wake_cause::notified);
    });
    parking of_thread;
    CHECK(of_thread.claim());
    of_thread.wake(wake_cause::cancelled);
    CHECK(of_thread.park({}) == wake_cause::cancelled);
}

TEST_CASE("park_until sleeps, and pending_interruption tells what would end it") {
    testing::run([] {
        const auto start = clock::now();
        CHECK(park_until({.reason = {"nap"}, .deadline = start + 1s}) == wake_cause::timed_out);
        CHECK(clock::now() - start == 1s);
        CHECK(pending_interruption() == wake_cause::notified);
        {
            timeout limit{1s};
            CHECK(pending_interruption() == wake_cause::notified);
            CHECK(park_until({}) == wake_cause::deadline);
            CHECK(pending_interruption() == wake_cause::deadline);
            shield clean_up;
            CHECK(pending_interruption() == wake_cause::notified);
        }
        fiber other{[] {
            CHECK(pending_interruption() == wake_cause::cancelled);
            shield clean_up;
            CHECK(pending_interruption() == wake_cause::notified);
        }};
        other.cancel();
        other.join();
    });
    CHECK(pending_interruption() == wake_cause::notified);
    CHECK(park_until({.deadline = clock::now()}) == wake_cause::timed_out);
}

TEST_CASE("throw_if_interrupted throws for cancellation and surrounding timeouts only") {
    throw_if_interrupted(wake_cause::notified);
    throw_if_interrupted(wake_cause::timed_out);
    CHECK_THROWS_AS(throw_if_interrupted(wake_cause::deadline), timed_out);
    CHECK_THROWS_AS(throw_if_interrupted(wake_cause::cancelled), cancelled);
    try {
        throw_if_interrupted(wake_cause::cancelled);
    } catch (const timed_out&) {
        FAIL_CHECK("cancellation is no time-out");
    } catch (const cancelled&) {
    }
}

TEST_CASE("plain threads wait in the same queue as fibers") {
    place gate;
    std::atomic<int> woken{0};
    std::thread plain{[&] {
        CHECK(gate.wait() == wake_cause::notified);
        woken.fetch_add(1);
    }};
    coir::run([&] {
        fiber other{[&] {
            CHECK(gate.wait() == wake_cause::notified);
            woken.fetch_add(1);
        }};
        int notified = 0;
        while (notified < 2) {
            notified += gate.notify_one();
            this_fiber::yield();
        }
        other.join();
    });
    plain.join();
    CHECK(woken == 2);
}

TEST_CASE("time-out and notification from another thread compete for a wait, and one of them has it") {
    place gate;
    int notified = 0;
    int timed_out_count = 0;
    constexpr int rounds = 500;
    std::atomic<bool> done{false};
    std::atomic<int> sent{0};
    std::thread notifier{[&] {
        while (!done)
            sent.fetch_add(gate.notify_one());
    }};
    coir::run([&] {
        for (int i = 0; i < rounds; ++i)
            (gate.wait({.deadline = clock::now() + std::chrono::microseconds{i % 5}}) == wake_cause::notified
                 ? notified
                 : timed_out_count) += 1;
    });
    done = true;
    notifier.join();
    CHECK(notified + timed_out_count == rounds);
    CHECK(sent == notified);
    CHECK(gate.empty());
}

TEST_SUITE_END();
