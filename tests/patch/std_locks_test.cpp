// SPDX-License-Identifier: BSL-1.0
// What the standard library waits with, unchanged, between fibers of one thread. If one of these blocked the thread,
// the fiber that is to end the wait could not run.
#include "native_diff.hpp"

#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <unistd.h>

#include <barrier>
#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;

namespace {

template <class Mutex> void keeps_others_out()
{
    coir::run([] {
        Mutex mutex;
        int inside = 0;
        int rounds = 0;
        coir::fiber_group group;
        for (int i = 0; i < 5; ++i)
            group.spawn([&] {
                for (int n = 0; n < 20; ++n) {
                    const std::lock_guard held{mutex};
                    CHECK(++inside == 1);
                    ::usleep(10);
                    --inside;
                    ++rounds;
                }
            });
        group.join();
        CHECK(rounds == 100);
    });
}

template <class Mutex> void gives_up_in_time()
{
    coir::run([] {
        Mutex mutex;
        bool in_vain = false;
        mutex.lock();
        coir::fiber other{[&] {
            CHECK_FALSE(mutex.try_lock());
            CHECK_FALSE(mutex.try_lock_for(3ms));
            CHECK_FALSE(mutex.try_lock_until(std::chrono::system_clock::now() + 3ms));
            in_vain = true;
            CHECK(mutex.try_lock_for(1h));
            mutex.unlock();
        }};
        while (!in_vain)
            ::usleep(1000);
        mutex.unlock();
        other.join();
    });
}

} // namespace

TEST_CASE("std mutexes are held across waits") {
    keeps_others_out<std::mutex>();
    keeps_others_out<std::recursive_mutex>();
    keeps_others_out<std::timed_mutex>();
    keeps_others_out<std::recursive_timed_mutex>();
    keeps_others_out<std::shared_mutex>();
    keeps_others_out<std::shared_timed_mutex>();
}

TEST_CASE("std timed mutexes give up in time") {
    gives_up_in_time<std::timed_mutex>();
    gives_up_in_time<std::recursive_timed_mutex>();
    gives_up_in_time<std::shared_timed_mutex>();
}

TEST_CASE("std::recursive_mutex is its fiber's, as often as it likes") {
    coir::run([] {
        std::recursive_mutex mutex;
        const std::lock_guard one{mutex};
        const std::lock_guard two{mutex};
        coir::fiber other{[&] { CHECK_FALSE(mutex.try_lock()); }};
        other.join();
        CHECK(mutex.try_lock());
        mutex.unlock();
    });
}

TEST_CASE("std::shared_mutex lets readers in together") {
    coir::run([] {
        std::shared_mutex mutex;
        int readers = 0;
        int most = 0;
        int written = 0;
        coir::fiber_group group;
        for (int i = 0; i < 6; ++i)
            group.spawn([&, i] {
                if (i % 3 == 0) {
                    const std::unique_lock held{mutex};
                    CHECK(readers == 0);
                    ::usleep(500);
                    ++written;
                } else {
                    const std::shared_lock held{mutex};
                    most = std::max(most, ++readers);
                    ::usleep(500);
                    --readers;
                }
            });
        group.join();
        CHECK(written == 2);
        CHECK(most >= 2);
    });
}

TEST_CASE("std::condition_variable, with and without a time") {
    coir::run([] {
        std::mutex mutex;
        std::condition_variable condition;
        int turn = 0;
        coir::fiber_group group;
        for (int number = 0; number < 3; ++number)
            group.spawn([&, number] {
                for (int round = 0; round < 30; ++round) {
                    std::unique_lock held{mutex};
                    condition.wait(held, [&] { return turn % 3 == number; });
                    ++turn;
                    condition.notify_all();
                }
            });
        group.join();
        CHECK(turn == 90);
        std::unique_lock held{mutex};
        CHECK(condition.wait_for(held, 3ms) == std::cv_status::timeout);
        CHECK(condition.wait_until(held, std::chrono::system_clock::now() + 3ms) == std::cv_status::timeout);
        CHECK_FALSE(condition.wait_for(held, 3ms, [] { return false; }));
    });
}

TEST_CASE("std::call_once, whose function waits, or throws the first time") {
    coir::run([] {
        std::once_flag once;
        int calls = 0;
        int done = 0;
        coir::fiber_group group;
        for (int i = 0; i < 5; ++i)
            group.spawn([&] {
                std::call_once(once, [&] {
                    ::usleep(1000);
                    ++calls;
                });
                CHECK(calls == 1);
                ++done;
            });
        group.join();
        CHECK(done == 5);

        std::once_flag second;
        int tries = 0;
        int failures = 0;
        for (int i = 0; i < 5; ++i)
            group.spawn([&] {
                try {
                    std::call_once(second, [&] {
                        ::usleep(1000);
                        if (++tries < 3)
                            throw std::runtime_error{"not yet"};
                    });
                } catch (const std::runtime_error&) {
                    ++failures;
                }
            });
        group.join();
        CHECK(tries == 3);
        CHECK(failures == 2);
    });
}

TEST_CASE("std::call_once between fibers and threads") {
    coir::run([] {
        for (int round = 0; round < 50; ++round) {
            std::once_flag once;
            std::atomic<int> calls{0};
            const auto call = [&] {
                std::call_once(once, [&] {
                    ::usleep(100);
                    ++calls;
                });
                CHECK(calls == 1);
            };
            std::thread thread{call};
            coir::fiber_group group;
            group.spawn(call);
            group.spawn(call);
            group.join();
            thread.join();
        }
    });
}

TEST_CASE("a function-local static whose initialiser waits is initialised once, for all") {
    coir::run([] {
        static int calls = 0;
        const auto value = [](int argument) {
            static const int result = [&] {
                ::usleep(2000);
                ++calls;
                return argument;
            }();
            return result;
        };
        std::vector<int> seen;
        coir::fiber_group group;
        for (int i = 1; i <= 4; ++i)
            group.spawn([&, i] { seen.push_back(value(i)); });
        group.join();
        CHECK(calls == 1);
        CHECK(seen == std::vector<int>(4, seen.front()));
    });
}

TEST_CASE("a function-local static whose initialiser throws is tried again by who waited") {
    coir::run([] {
        static int tries = 0;
        const auto touch = [] {
            static const bool done = [] {
                ::usleep(1000);
                if (++tries == 1)
                    throw std::runtime_error{"not yet"};
                return true;
            }();
            return done;
        };
        int failures = 0;
        coir::fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&] {
                try {
                    touch();
                } catch (const std::runtime_error&) {
                    ++failures;
                }
            });
        group.join();
        CHECK(tries == 2);
        CHECK(failures == 1);
    });
}

TEST_CASE("std::atomic::wait") {
    coir::run([] {
        std::atomic<int> number{0};
        coir::fiber waiting{[&] {
            for (int i = 0; i < 100; ++i)
                number.wait(i);
        }};
        for (int i = 1; i <= 100; ++i) {
            ::usleep(10);
            number.store(i, std::memory_order_release);
            number.notify_all();
        }
        waiting.join();
        std::atomic<bool> wide{false}; // not of a futex's size
        coir::fiber second{[&] { wide.wait(false); }};
        ::usleep(1000);
        wide = true;
        wide.notify_one();
        second.join();
    });
}

TEST_CASE("std::latch, std::barrier and std::counting_semaphore") {
    coir::run([] {
        std::latch started{5};
        std::barrier together{5};
        std::counting_semaphore<> places{2};
        int inside = 0;
        int most = 0;
        int rounds = 0;
        coir::fiber_group group;
        for (int i = 0; i < 5; ++i)
            group.spawn([&, i] {
                ::usleep(static_cast<useconds_t>(100 * i));
                started.arrive_and_wait();
                for (int n = 0; n < 5; ++n) {
                    places.acquire();
                    most = std::max(most, ++inside);
                    ::usleep(50);
                    --inside;
                    places.release();
                    together.arrive_and_wait();
                    ++rounds;
                }
            });
        group.join();
        CHECK(most == 2);
        CHECK(rounds == 25);
        CHECK(places.try_acquire());
        CHECK(places.try_acquire());
        CHECK_FALSE(places.try_acquire_for(3ms));
        std::binary_semaphore given{0};
        coir::fiber giving{[&] { given.release(); }};
        CHECK(given.try_acquire_for(1h));
        giving.join();
    });
}

TEST_CASE("std::promise and std::future") {
    coir::run([] {
        std::promise<int> promise;
        auto future = promise.get_future();
        CHECK(future.wait_for(2ms) == std::future_status::timeout);
        coir::fiber answering{[&] {
            ::usleep(1000);
            promise.set_value(42);
        }};
        CHECK(future.get() == 42);
        answering.join();

        std::promise<int> broken;
        auto failing = broken.get_future();
        coir::fiber throwing{[&] { broken.set_exception(std::make_exception_ptr(std::runtime_error{"no"})); }};
        CHECK_THROWS_AS(failing.get(), std::runtime_error);
        throwing.join();

        std::packaged_task<int(int)> task{[](int number) {
            ::usleep(500);
            return number + 1;
        }};
        auto result = task.get_future();
        coir::fiber working{[&] { task(1); }};
        CHECK(result.get() == 2);
        working.join();
    });
}

TEST_CASE("a future that a thread fulfils") {
    coir::run([] {
        std::atomic<bool> others_run{false};
        coir::fiber other{[&] { others_run = true; }};
        std::promise<int> promise;
        auto future = promise.get_future();
        std::thread thread{[&] {
            while (!others_run) // which they do only while the fiber waits
                ::usleep(1000);
            promise.set_value(7);
        }};
        CHECK(future.get() == 7);
        other.join();
        thread.join();
    });
}

TEST_CASE("threads and fibers, on mutexes, conditions and reader-writer locks at once, count right") {
    constexpr int rounds = 1500;
    std::mutex mutex;
    std::condition_variable condition;
    std::shared_mutex shared;
    long counter = 0;
    long written = 0;
    long turns = 0;
    std::atomic<long> read{0};
    const auto work = [&](int seed) {
        for (int i = 0; i < rounds; ++i) {
            {
                const std::lock_guard held{mutex};
                const auto seen = counter;
                if ((i + seed) % 37 == 0)
                    ::sched_yield();
                counter = seen + 1;
            }
            if ((i + seed) % 3 == 0) {
                const std::unique_lock held{shared};
                const auto seen = written;
                if (i % 29 == 0)
                    ::usleep(1);
                written = seen + 1;
            } else {
                const std::shared_lock held{shared};
                const auto before = written;
                if (i % 31 == 0)
                    ::sched_yield();
                CHECK(before == written);
                ++read;
            }
            if (i % 10 == 0) {
                std::unique_lock held{mutex};
                ++turns;
                condition.notify_all();
                condition.wait_for(held, 50us);
            }
        }
    };
    const auto hub = [&](int seed) {
        coir::run([&] {
            coir::fiber_group group;
            for (int i = 0; i < 4; ++i)
                group.spawn([&, i] { work(seed + i); });
            group.join();
        });
    };
    std::vector<std::thread> threads;
    threads.emplace_back([&] { hub(0); });
    threads.emplace_back([&] { hub(10); });
    threads.emplace_back([&] { work(20); });
    threads.emplace_back([&] { work(21); });
    for (auto& thread : threads)
        thread.join();
    CHECK(counter == 10 * rounds);
    CHECK(written + read == 10 * rounds);
    CHECK(turns == 10 * rounds / 10);
}

TEST_CASE("joining a thread suspends the fiber") {
    coir::run([] {
        std::binary_semaphore go{0};
        std::thread thread{[&] { go.acquire(); }};
        coir::fiber other{[&] { go.release(); }}; // runs only if the join does not hold the hub's thread
        thread.join();
        CHECK_FALSE(thread.joinable());
    });
}
