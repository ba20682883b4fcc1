// SPDX-License-Identifier: BSL-1.0
// Every primitive in a small program of its own, which is run once for each wait there is in it, with a cancellation at
// that wait; and all that under several orders, from a printed seed. A lost wake-up shows as a deadlock, which the
// virtual driver reports; something delivered twice, or lost, in what each program checks at its end.
#include "seed.hpp"

#include <doctest/doctest.h>

#include <coir/as_completed.hpp>
#include <coir/async.hpp>
#include <coir/auto_reset_event.hpp>
#include <coir/barrier.hpp>
#include <coir/cancel_scope.hpp>
#include <coir/channel.hpp>
#include <coir/condition_variable.hpp>
#include <coir/condition_variable_any.hpp>
#include <coir/coroutine.hpp>
#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/fiber_pool.hpp>
#include <coir/generator.hpp>
#include <coir/joinable_channel.hpp>
#include <coir/latch.hpp>
#include <coir/map.hpp>
#include <coir/mutex.hpp>
#include <coir/offload.hpp>
#include <coir/once.hpp>
#include <coir/promise.hpp>
#include <coir/recursive_mutex.hpp>
#include <coir/select.hpp>
#include <coir/semaphore.hpp>
#include <coir/shared_mutex.hpp>
#include <coir/testing.hpp>
#include <coir/wait_any.hpp>

#include <algorithm>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>
#include <stop_token>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

/// Runs the program under some orders. Says how many waits were cancelled, so that a program that never waits fails.
template <class Program> void cancel_each_wait_of(const Program& program)
{
    std::mt19937_64 random{support::seed()};
    for (int order = 0; order < 8; ++order)
        CHECK(testing::cancel_each_wait(random(), program) > 0);
}

/// Counts who is inside, from construction to destruction.
struct inside {
    int& count;
    explicit inside(int& counted) : count{counted} { ++count; }
    inside(const inside&) = delete;
    inside& operator=(const inside&) = delete;
    ~inside() { --count; }
};

/// Three fibers that each do `work` three times.
template <class Work> void three_times_three(const Work& work)
{
    fiber_group group;
    for (int i = 0; i < 3; ++i)
        group.spawn([&, i] {
            for (int round = 0; round < 3; ++round)
                work(i, round);
        });
    group.join();
}

} // namespace

TEST_SUITE_BEGIN("every wait cancelled");

TEST_CASE_TEMPLATE("locking", Mutex, mutex, timed_mutex, recursive_mutex, recursive_timed_mutex, shared_mutex,
                   shared_timed_mutex) {
    cancel_each_wait_of([] {
        Mutex guard;
        int holders = 0;
        three_times_three([&](int, int) {
            const std::lock_guard held{guard};
            const inside holder{holders};
            this_fiber::sleep_for(1ms);
            CHECK(holders == 1);
        });
        CHECK(guard.try_lock());
        guard.unlock();
    });
}

TEST_CASE_TEMPLATE("locking for a time", Mutex, timed_mutex, recursive_timed_mutex, shared_timed_mutex) {
    cancel_each_wait_of([] {
        Mutex guard;
        int holders = 0;
        three_times_three([&](int i, int) {
            const std::unique_lock held{guard, std::chrono::milliseconds{i}};
            if (!held)
                return;
            const inside holder{holders};
            this_fiber::sleep_for(1ms);
            CHECK(holders == 1);
        });
        CHECK(guard.try_lock());
        guard.unlock();
    });
}

TEST_CASE("several locks at once") {
    cancel_each_wait_of([] {
        mutex guards[3];
        three_times_three([&](int i, int) {
            const std::scoped_lock held{guards[i], guards[(i + 1) % 3]};
            this_fiber::sleep_for(1ms);
        });
        for (auto& each : guards) {
            CHECK(each.try_lock());
            each.unlock();
        }
    });
}

TEST_CASE_TEMPLATE("locking shared", Mutex, shared_mutex, shared_timed_mutex) {
    cancel_each_wait_of([] {
        Mutex guard;
        int writers = 0;
        int readers = 0;
        three_times_three([&](int i, int round) {
            if (i == round) {
                const std::unique_lock held{guard};
                const inside writer{writers};
                this_fiber::sleep_for(1ms);
                CHECK(writers == 1);
                CHECK(readers == 0);
            } else {
                const std::shared_lock held{guard};
                const inside reader{readers};
                this_fiber::sleep_for(1ms);
                CHECK(writers == 0);
            }
        });
        CHECK(guard.try_lock());
        guard.unlock();
    });
}

namespace {

/// Consumers that wait on a condition for what main gives out. What is cancelled has taken nothing.
template <class Condition, class Wait> void give_out(const Wait& wait)
{
    mutex guard;
    Condition changed;
    std::deque<int> values;
    std::vector<int> taken;
    bool done = false;
    fiber_group consumers;
    for (int i = 0; i < 3; ++i)
        consumers.spawn([&] {
            for (;;) {
                std::unique_lock held{guard};
                wait(changed, held, [&] { return done || !values.empty(); });
                if (values.empty())
                    return;
                taken.push_back(values.front());
                values.pop_front();
            }
        });
    for (int value = 0; value < 6; ++value) {
        const std::scoped_lock held{guard};
        values.push_back(value);
        changed.notify_one();
        this_fiber::yield();
    }
    {
        const std::scoped_lock held{guard};
        done = true;
    }
    changed.notify_all();
    consumers.join();
    taken.insert(taken.end(), values.begin(), values.end());
    CHECK(taken == std::vector{0, 1, 2, 3, 4, 5});
}

} // namespace

TEST_CASE_TEMPLATE("waiting for a condition", Condition, condition_variable, condition_variable_any) {
    cancel_each_wait_of(
        [] { give_out<Condition>([](auto& changed, auto& held, auto ready) { changed.wait(held, ready); }); });
    cancel_each_wait_of([] {
        give_out<Condition>([](auto& changed, auto& held, auto ready) {
            while (!changed.wait_for(held, 1ms, ready)) {}
        });
    });
}

TEST_CASE("waiting for a condition with a stop_token") {
    cancel_each_wait_of([] {
        mutex guard;
        condition_variable_any changed;
        std::stop_source stop;
        int stopped = 0;
        int cut_off = 0;
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&] {
                std::unique_lock held{guard};
                try {
                    const bool ready = changed.wait(held, stop.get_token(), [] { return false; });
                    CHECK(!ready);
                    ++stopped;
                } catch (const cancelled&) {
                    CHECK(held.owns_lock());
                    ++cut_off;
                    throw;
                }
            });
        this_fiber::sleep_for(1ms);
        stop.request_stop();
        group.join();
        CHECK(stopped + cut_off <= 3); // one may have been cancelled when it waited for the mutex
        CHECK(stopped >= 2);
        CHECK(guard.try_lock());
        guard.unlock();
    });
}

TEST_CASE("acquiring a semaphore") {
    cancel_each_wait_of([] {
        counting_semaphore<> permits{2};
        int holders = 0;
        three_times_three([&](int i, int) {
            if (!(i ? permits.try_acquire_for(1s) : (permits.acquire(), true)))
                return;
            struct give_back {
                counting_semaphore<>& to;
                ~give_back() { to.release(); }
            } const permit{permits};
            const inside holder{holders};
            this_fiber::sleep_for(1ms);
            CHECK(holders <= 2);
        });
        CHECK(permits.try_acquire());
        CHECK(permits.try_acquire());
        CHECK(!permits.try_acquire());
    });
}

TEST_CASE("waiting for an event") {
    cancel_each_wait_of([] {
        event gate;
        int through = 0;
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&] {
                gate.wait();
                ++through;
            });
        this_fiber::sleep_for(1ms);
        gate.set();
        group.join();
        CHECK(through >= 2);
    });
}

TEST_CASE("an event that lets one through goes round like a baton") {
    cancel_each_wait_of([] {
        auto_reset_event baton;
        int holders = 0;
        baton.set();
        three_times_three([&](int, int) {
            baton.wait();
            struct pass_on {
                auto_reset_event& to;
                ~pass_on() { to.set(); }
            } const passed{baton};
            const inside holder{holders};
            this_fiber::sleep_for(1ms);
            CHECK(holders == 1);
        });
        CHECK(baton.try_wait());
    });
}

TEST_CASE("waiting at a latch") {
    cancel_each_wait_of([] {
        latch all{4};
        int through = 0;
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&] {
                all.arrive_and_wait();
                CHECK(all.try_wait());
                ++through;
            });
        all.arrive_and_wait(); // who was cancelled while waiting has arrived
        group.join();
        CHECK(through >= 2);
    });
}

TEST_CASE("waiting at a barrier") {
    cancel_each_wait_of([] {
        int phases = 0;
        const auto count = [&]() noexcept { ++phases; };
        barrier<decltype(count)> step{3, count};
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&] {
                int before = 0;
                try {
                    for (int round = 0; round < 3; ++round) {
                        before = phases;
                        step.arrive_and_wait();
                        CHECK(phases > before);
                    }
                } catch (const cancelled&) {
                    // It has arrived in this phase, and leaves in the next.
                    const shield leaving;
                    while (phases == before)
                        this_fiber::sleep_for(1ms);
                    step.arrive_and_drop();
                    throw;
                }
                // Those that go on do not wait for who is through.
                step.arrive_and_drop();
            });
        group.join();
        CHECK(phases >= 3);
    });
}

TEST_CASE("once") {
    cancel_each_wait_of([] {
        once_flag flag;
        int done = 0;
        int returned = 0;
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&] {
                call_once(flag, [&] {
                    this_fiber::sleep_for(1ms);
                    ++done;
                });
                CHECK(done == 1);
                ++returned;
            });
        group.join();
        CHECK(done == 1);
        CHECK(returned >= 2);
    });
}

TEST_CASE("channels") {
    for (const auto capacity : {0U, 1U, 3U})
        cancel_each_wait_of([capacity] {
            channel<int> values{capacity};
            std::vector<int> sent;
            std::vector<int> received;
            fiber_group senders;
            fiber_group receivers;
            for (int i = 0; i < 2; ++i) {
                senders.spawn([&, i] {
                    for (int round = 0; round < 3; ++round) {
                        const int value = 10 * i + round;
                        if (round % 2 ? values.send_for(value, 1s) : (values.send(value), true))
                            sent.push_back(value);
                    }
                });
                receivers.spawn([&] {
                    for (const int value : values)
                        received.push_back(value);
                });
            }
            // Somebody must be there for whoever is not cancelled.
            fiber drain{[&] {
                const shield always;
                this_fiber::sleep_for(10ms);
                while (auto value = values.receive())
                    received.push_back(*value);
            }};
            senders.join();
            values.close();
            receivers.join();
            drain.join();
            std::ranges::sort(sent);
            std::ranges::sort(received);
            CHECK(sent == received);
        });
}

TEST_CASE("futures") {
    cancel_each_wait_of([] {
        promise<int> source;
        const auto result = source.get_future().share();
        int got = 0;
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&, i] {
                if (i == 2) {
                    const auto status = result.wait_for(1s);
                    CHECK(status == std::future_status::ready);
                }
                got += result.get();
            });
        this_fiber::sleep_for(1ms);
        source.set_value(1);
        group.join();
        CHECK(got >= 2);
        CHECK(result.get() == 1);
    });
}

TEST_CASE("asynchronous calls: a result or a broken promise") {
    cancel_each_wait_of([] {
        int results = 0;
        int broken = 0;
        fiber_group group;
        for (int i = 0; i < 2; ++i)
            group.spawn([&] {
                auto answer = async([] {
                    this_fiber::sleep_for(1ms);
                    return 1;
                });
                try {
                    results += answer.get();
                } catch (const std::future_error& error) {
                    CHECK(error.code() == std::future_errc::broken_promise);
                    ++broken;
                }
            });
        group.join();
        CHECK(results + broken >= 1);
        CHECK(broken <= 1);
    });
}

TEST_CASE("joining fibers and groups") {
    cancel_each_wait_of([] {
        int alive = 0;
        fiber_group outer;
        for (int i = 0; i < 2; ++i)
            outer.spawn([&] {
                const inside self{alive};
                fiber_group inner;
                for (int child = 0; child < 2; ++child)
                    inner.spawn([&] {
                        const inside self{alive};
                        this_fiber::sleep_for(2ms);
                    });
                fiber last{[&] {
                    const inside self{alive};
                    this_fiber::sleep_for(1ms);
                }};
                last.join();
                inner.join();
            });
        outer.join();
        CHECK(alive == 0);
    });
}

TEST_CASE("scopes: what is cut off inside ends there, and what cancels the fiber passes through") {
    cancel_each_wait_of([] {
        int after_scope = 0;
        int fibers_cancelled = 0;
        three_times_three([&](int, int round) {
            try {
                cancel_scope scope{2ms};
                const bool ended = scope.run([&] {
                    this_fiber::sleep_for(1ms);
                    if (round == 1)
                        this_fiber::sleep_for(1h);
                });
                CHECK(ended == (round != 1));
                ++after_scope;
            } catch (const cancelled&) {
                ++fibers_cancelled;
                throw;
            }
        });
        CHECK(fibers_cancelled <= 1);
        CHECK(after_scope >= 6);
    });
}

TEST_CASE("coroutines and generators are unwound wherever their fiber is cancelled") {
    cancel_each_wait_of([] {
        int alive = 0;
        int sum = 0;
        fiber_group group;
        for (int i = 0; i < 2; ++i)
            group.spawn([&] {
                const auto numbers = [&](auto& yield) {
                    const inside self{alive};
                    for (int number = 1; number <= 3; ++number) {
                        this_fiber::sleep_for(1ms);
                        yield(number);
                    }
                };
                for (const int number : generator<int>{numbers})
                    sum += number;
                coroutine<int(int)> doubler{[&](auto& self, int number) {
                    const inside kept{alive};
                    for (;;) {
                        this_fiber::sleep_for(1ms);
                        number = self.yield(2 * number);
                    }
                }};
                const int eight = doubler.resume(4);
                CHECK(eight == 8);
                this_fiber::sleep_for(1ms);
                const int ten = doubler.resume(5);
                CHECK(ten == 10);
            });
        group.join();
        CHECK(alive == 0);
        CHECK(sum >= 6);
    });
}

TEST_CASE("select") {
    for (const auto capacity : {0U, 2U})
        cancel_each_wait_of([capacity] {
            channel<int> odd{capacity};
            channel<int> even{capacity};
            event over;
            std::vector<int> sent;
            std::vector<int> received;
            fiber_group senders;
            fiber_group receivers;
            for (int i = 0; i < 2; ++i) {
                senders.spawn([&, i] {
                    for (int round = 0; round < 3; ++round) {
                        const int value = 10 * i + round;
                        select(on_send(odd, value, [&] { sent.push_back(value); }),
                               on_send(even, value, [&] { sent.push_back(value); }), on_timeout(1s, [] {}));
                    }
                });
                receivers.spawn([&] {
                    const auto keep = [&](std::optional<int> value) { received.push_back(value.value()); };
                    for (bool ended = false; !ended;)
                        select(on_receive(odd, keep), on_receive(even, keep), on_set(over, [&] { ended = true; }));
                });
            }
            senders.join();
            // What is still in a buffer: somebody takes it who is not cancelled.
            over.set();
            receivers.join();
            for (auto* each : {&odd, &even})
                while (auto value = each->try_receive())
                    received.push_back(*value);
            std::ranges::sort(sent);
            std::ranges::sort(received);
            CHECK(sent == received);
        });
}

TEST_CASE("waiting for the first and for all") {
    cancel_each_wait_of([] {
        std::vector<fiber> workers;
        for (int i = 1; i <= 3; ++i)
            workers.emplace_back([i] { this_fiber::sleep_for(std::chrono::milliseconds{i}); });
        int first = 0;
        int all = 0;
        fiber_group waiters;
        for (int i = 0; i < 2; ++i)
            waiters.spawn([&] {
                first += wait_any(workers) != workers.end();
                wait_all(workers);
                ++all;
            });
        waiters.join();
        for (auto& each : workers)
            each.join();
        CHECK(first >= 1);
        CHECK(all >= 1);
    });
}

TEST_CASE("queues of tasks") {
    cancel_each_wait_of([] {
        joinable_channel<int> tasks;
        int done = 0;
        fiber_group workers;
        for (int i = 0; i < 2; ++i)
            workers.spawn([&] {
                for ([[maybe_unused]] const int task : tasks) {
                    struct report {
                        joinable_channel<int>& to;
                        int& count;
                        ~report()
                        {
                            ++count;
                            to.task_done();
                        }
                    } const at_end{tasks, done};
                    this_fiber::sleep_for(1ms);
                }
            });
        fiber boss{[&] { tasks.join(); }};
        for (int task = 0; task < 4; ++task)
            tasks.send(task);
        tasks.join();
        CHECK(done == 4);
        CHECK(tasks.unfinished() == 0);
        boss.join();
        tasks.close();
        workers.join();
    });
}

TEST_CASE("pools and maps: what was cancelled ends them, and nothing outlives them") {
    cancel_each_wait_of([] {
        int running = 0;
        const auto work = [&](int number) {
            const inside call{running};
            CHECK(running <= 2);
            this_fiber::sleep_for(1ms);
            return 2 * number;
        };
        const std::vector numbers{1, 2, 3, 4};
        fiber_group callers;
        callers.spawn([&] {
            fiber_pool pool{2};
            for (const int number : numbers)
                if (!pool.spawn([&, number] { work(number); }))
                    break;
            pool.join();
        });
        callers.join();
        CHECK(running == 0);

        callers.spawn([&] {
            try {
                const auto doubled = map(numbers, work, {.concurrency = 2});
                CHECK(doubled == std::vector{2, 4, 6, 8});
            } catch (const std::future_error& error) { // one of the calls was cancelled, and none of us
                CHECK(error.code() == std::future_errc::broken_promise);
            }
        });
        callers.join();
        CHECK(running == 0);

        callers.spawn([&] {
            int sum = 0;
            try {
                for (const int each : as_completed(numbers, work, {.concurrency = 2}))
                    sum += each;
                CHECK(sum == 20);
            } catch (const std::exception&) { // the same
            }
        });
        callers.join();
        CHECK(running == 0);
    });
}

TEST_SUITE_END();
