// SPDX-License-Identifier: BSL-1.0
#include "hubs.hpp"

#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/shared_mutex.hpp>
#include <coir/testing.hpp>

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("shared_mutex");

TEST_CASE("readers are in together, a writer is in alone") {
    testing::run([] {
        shared_mutex door;
        int readers = 0;
        int most_readers = 0;
        int writers = 0;
        fiber_group group;
        for (int i = 0; i < 5; ++i) {
            group.spawn([&] {
                for (int j = 0; j < 10; ++j) {
                    std::shared_lock lock{door};
                    most_readers = std::max(most_readers, ++readers);
                    CHECK(writers == 0);
                    this_fiber::yield();
                    --readers;
                }
            });
            group.spawn([&] {
                for (int j = 0; j < 10; ++j) {
                    std::scoped_lock lock{door};
                    CHECK(++writers == 1);
                    CHECK(readers == 0);
                    this_fiber::yield();
                    --writers;
                }
            });
        }
        group.join();
        CHECK(most_readers == 5);
    });
}

TEST_CASE("a shared_mutex that is free is taken without suspending") {
    testing::run([] {
        shared_timed_mutex free;
        const no_suspend here;
        {
            std::scoped_lock lock{free};
        }
        {
            std::shared_lock one{free};
            std::shared_lock two{free, 0s};
            CHECK(two.owns_lock());
        }
        std::unique_lock lock{free, 0s};
        CHECK(lock.owns_lock());
    });
}

TEST_CASE("readers that come while a writer waits queue up behind it") {
    testing::run([] {
        shared_mutex door;
        std::string log;
        std::shared_lock first{door};
        fiber writer{[&] {
            std::scoped_lock lock{door};
            log += 'W';
            this_fiber::sleep_for(1s);
        }};
        this_fiber::yield();
        CHECK(!door.try_lock_shared());
        fiber reader{[&] {
            std::shared_lock lock{door};
            log += 'r';
        }};
        this_fiber::sleep_for(1s);
        CHECK(log.empty());
        first.unlock();
        reader.join();
        CHECK(log == "Wr");
    });
}

TEST_CASE("a writer does not starve among readers that are never all away") {
    testing::run([] {
        shared_mutex door;
        bool written = false;
        fiber_group readers;
        for (int i = 0; i < 3; ++i)
            readers.spawn([&, i] {
                this_fiber::sleep_for(i * 1s);
                while (!written) { // three of 3 s each, begun one second apart
                    std::shared_lock lock{door};
                    this_fiber::sleep_for(3s);
                }
            });
        this_fiber::sleep_for(10s);
        const auto start = clock::now();
        {
            std::scoped_lock lock{door};
            written = true;
        }
        CHECK(clock::now() - start <= 3s);
        readers.join();
    });
}

TEST_CASE("readers do not starve among writers that queue without end") {
    testing::run([] {
        shared_mutex door;
        std::string log;
        bool read = false;
        fiber_group writers;
        for (int i = 0; i < 3; ++i)
            writers.spawn([&] {
                while (!read) {
                    std::scoped_lock lock{door};
                    log += 'W';
                    this_fiber::sleep_for(1s);
                }
            });
        this_fiber::sleep_for(1500ms);
        {
            std::shared_lock lock{door};
            read = true;
        }
        CHECK(log == "WW"); // the one that was in, and none of those who waited before the reader
        writers.join();
    });
}

TEST_CASE("all readers that wait enter together when a writer is done, and the next writer after them") {
    testing::run([] {
        shared_mutex door;
        std::string log;
        std::unique_lock lock{door};
        auto read = [&] {
            std::shared_lock inner{door};
            log += '(';
            this_fiber::sleep_for(1s);
            log += ')';
        };
        auto write = [&] {
            std::scoped_lock inner{door};
            log += 'W';
        };
        fiber_group group;
        group.spawn(read);
        group.spawn(write);
        group.spawn(read);
        group.spawn(write);
        group.spawn(read);
        this_fiber::yield();
        lock.unlock();
        group.join();
        CHECK(log == "((()))WW");
    });
}

TEST_CASE("writers enter in order of arrival") {
    testing::run([] {
        shared_mutex door;
        std::string log;
        std::shared_lock lock{door};
        auto write = [&](char letter) {
            std::scoped_lock inner{door};
            log += letter;
        };
        fiber a{write, 'a'};
        fiber b{write, 'b'};
        fiber c{write, 'c'};
        this_fiber::yield();
        lock.unlock();
        c.join();
        CHECK(log == "abc");
    });
}

TEST_CASE("a writer that gives up lets the readers in that waited behind it") {
    testing::run([] {
        shared_timed_mutex door;
        const auto start = clock::now();
        std::shared_lock lock{door};
        fiber_group others;
        fiber gives_up{[&] { CHECK(!door.try_lock_for(1s)); }};
        fiber is_cancelled{[&] { CHECK_THROWS_AS(door.lock(), cancelled); }};
        for (int i = 0; i < 2; ++i)
            others.spawn([&] {
                std::shared_lock inner{door};
                CHECK(clock::now() - start == 2s);
            });
        this_fiber::sleep_for(2s);
        is_cancelled.cancel();
        others.join();
        CHECK(!door.try_lock());
        CHECK(door.try_lock_shared());
        door.unlock_shared();
    });
}

TEST_CASE("readers give up when their time is over or they are cancelled, and are not counted") {
    testing::run([] {
        shared_timed_mutex door;
        std::unique_lock lock{door};
        fiber late{[&] {
            const auto start = clock::now();
            CHECK(!door.try_lock_shared_for(1s));
            CHECK(!door.try_lock_shared_until(start + 2s));
            CHECK(clock::now() - start == 2s);
            const timeout limit{1s};
            CHECK_THROWS_AS(door.lock_shared(), timed_out);
        }};
        fiber is_cancelled{[&] { CHECK_THROWS_AS(static_cast<void>(door.try_lock_shared_for(1h)), cancelled); }};
        this_fiber::yield();
        is_cancelled.cancel();
        late.join();
        is_cancelled.join();
        lock.unlock();
        CHECK(door.try_lock()); // no reader is inside
        door.unlock();
    });
}

TEST_CASE("a try_lock may be faster than the writer that has been woken, which then is still the next") {
    testing::run([] {
        shared_mutex door;
        std::string log;
        door.lock();
        auto write = [&](char letter) {
            std::scoped_lock lock{door};
            log += letter;
        };
        fiber a{write, 'a'};
        fiber b{write, 'b'};
        this_fiber::yield();
        door.unlock();
        CHECK(!door.try_lock_shared()); // it is the writers' turn
        CHECK(door.try_lock());
        this_fiber::sleep_for(1s);
        CHECK(log.empty());
        door.unlock();
        b.join();
        CHECK(log == "ab");
    });
}

TEST_CASE("a writer overtaken by a try_lock that then is cancelled does not keep the others out") {
    testing::run([] {
        shared_mutex door;
        door.lock();
        fiber writer{[&] { CHECK_THROWS_AS(door.lock(), cancelled); }};
        this_fiber::yield();
        door.unlock();
        CHECK(door.try_lock());
        fiber reader{[&] { std::shared_lock lock{door}; }};
        this_fiber::yield();
        writer.cancel();
        writer.join();
        door.unlock();
        reader.join();
        CHECK(door.try_lock());
        door.unlock();
    });
}

TEST_CASE("a holder that is cancelled gives a shared_mutex up as it unwinds") {
    testing::run([] {
        shared_mutex door;
        std::string log;
        fiber writer{[&] {
            std::scoped_lock lock{door};
            this_fiber::sleep_for(1h);
        }};
        fiber reader{[&] {
            std::shared_lock lock{door};
            log += 'r';
            this_fiber::sleep_for(1h);
        }};
        fiber next{[&] {
            std::scoped_lock lock{door};
            log += 'w';
        }};
        this_fiber::yield();
        writer.cancel();
        this_fiber::sleep_for(1s);
        CHECK(log == "r");
        reader.cancel();
        next.join();
        CHECK(log == "rw");
    });
}

TEST_CASE("locking a shared_mutex that one holds alone is refused") {
    testing::run([] {
        shared_mutex door;
        std::scoped_lock lock{door};
        CHECK_THROWS_AS(door.lock(), std::system_error);
        CHECK_THROWS_AS(door.lock_shared(), std::system_error);
        CHECK(!door.try_lock());
        CHECK(!door.try_lock_shared());
    });
}

TEST_CASE("scoped_lock of three shared_mutexes by fibers of one hub comes to an end, among readers") {
    testing::run([] {
        shared_mutex a;
        shared_mutex b;
        shared_mutex c;
        int done = 0;
        auto write = [&](shared_mutex& first, shared_mutex& second, shared_mutex& third) {
            for (int i = 0; i < 10; ++i) {
                std::scoped_lock all{first, second, third};
                this_fiber::yield();
                ++done;
            }
        };
        auto read = [&](shared_mutex& first, shared_mutex& second, shared_mutex& third) {
            for (int i = 0; i < 10; ++i) {
                std::shared_lock x{first, std::defer_lock};
                std::shared_lock y{second, std::defer_lock};
                std::shared_lock z{third, std::defer_lock};
                std::lock(x, y, z);
                this_fiber::yield();
                ++done;
            }
        };
        fiber_group group;
        group.spawn(write, std::ref(a), std::ref(b), std::ref(c));
        group.spawn(read, std::ref(b), std::ref(c), std::ref(a));
        group.spawn(write, std::ref(c), std::ref(a), std::ref(b));
        group.spawn(read, std::ref(c), std::ref(b), std::ref(a));
        group.spawn(write, std::ref(b), std::ref(a), std::ref(c));
        group.spawn(read, std::ref(a), std::ref(c), std::ref(b));
        group.join();
        CHECK(done == 60);
    });
}

TEST_CASE("readers and writers on two hubs and a plain thread see each other's work whole") {
    constexpr int turns = 500;
    shared_timed_mutex door;
    long left = 0; // not atomic: the mutex guards them
    long right = 0;
    std::atomic<int> torn{0};
    auto work = [&] {
        for (int i = 0; i < turns; ++i) {
            if (i % 4 == 0) {
                std::unique_lock lock{door, 1h};
                ++left;
                if (i % 32 == 0)
                    this_fiber::yield();
                ++right;
            } else {
                std::shared_lock lock{door, 1h};
                torn += left != right;
                if (i % 32 == 1)
                    this_fiber::yield();
            }
        }
    };
    support::on_two_hubs_and_a_thread(work);
    CHECK(torn == 0);
    CHECK(left == 5L * turns / 4);
    CHECK(right == left);
}

TEST_SUITE_END();
