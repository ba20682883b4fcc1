// SPDX-License-Identifier: BSL-1.0
#include "hubs.hpp"

#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/mutex.hpp>
#include <coir/testing.hpp>

#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("mutex");

TEST_CASE("a mutex keeps all but one fiber out") {
    testing::run([] {
        mutex door;
        int inside = 0;
        int most = 0;
        int visits = 0;
        std::vector<fiber> fibers;
        for (int i = 0; i < 10; ++i)
            fibers.emplace_back([&] {
                for (int j = 0; j < 10; ++j) {
                    std::scoped_lock lock{door};
                    most = std::max(most, ++inside);
                    this_fiber::yield();
                    --inside;
                    ++visits;
                }
            });
        for (auto& each : fibers)
            each.join();
        CHECK(most == 1);
        CHECK(visits == 100);
    });
}

TEST_CASE("a mutex nobody holds is taken without suspending") {
    testing::run([] {
        mutex free;
        no_suspend here;
        std::scoped_lock lock{free};
    });
}

TEST_CASE("a mutex goes to who has waited longest, even if the holder locks again at once") {
    testing::run([] {
        mutex door;
        std::string log;
        std::unique_lock lock{door};
        auto enter = [&](char letter) {
            std::scoped_lock inner{door};
            log += letter;
        };
        fiber a{enter, 'a'};
        fiber b{enter, 'b'};
        fiber c{enter, 'c'};
        this_fiber::yield();
        lock.unlock();
        lock.lock();
        log += 'm';
        lock.unlock();
        CHECK(log == "abcm");
    });
}

TEST_CASE("a try_lock may be faster than who has been woken, who then is still the next") {
    testing::run([] {
        mutex door;
        std::string log;
        auto enter = [&](char letter) {
            std::scoped_lock lock{door};
            log += letter;
        };
        door.lock();
        fiber a{enter, 'a'};
        fiber b{enter, 'b'};
        this_fiber::yield();
        door.unlock();
        CHECK(door.try_lock());
        this_fiber::sleep_for(1s); // a looks, and waits on
        CHECK(log.empty());
        fiber c{enter, 'c'};
        this_fiber::yield();
        door.unlock();
        c.join();
        CHECK(log == "abc");
    });
}

TEST_CASE("who has been overtaken by a try_lock can be cancelled, and its turn is not lost") {
    testing::run([] {
        mutex door;
        std::string log;
        door.lock();
        fiber a{[&] {
            CHECK_THROWS_AS(door.lock(), cancelled);
            log += "a cancelled, ";
        }};
        fiber b{[&] {
            std::scoped_lock lock{door};
            log += "b entered";
        }};
        this_fiber::yield();
        door.unlock();
        CHECK(door.try_lock());
        this_fiber::yield();
        a.cancel();
        a.join();
        door.unlock();
        b.join();
        CHECK(log == "a cancelled, b entered");
    });
}

TEST_CASE("try_lock takes the mutex only if nobody holds it") {
    testing::run([] {
        mutex door;
        CHECK(door.try_lock());
        CHECK(!door.try_lock());
        fiber other{[&] { CHECK(!door.try_lock()); }};
        other.join();
        door.unlock();
        std::unique_lock lock{door, std::try_to_lock};
        CHECK(lock.owns_lock());
    });
}

TEST_CASE("scoped_lock of two mutexes in either order does not lock up") {
    testing::run([] {
        mutex first;
        mutex second;
        int done = 0;
        auto work = [&](mutex& a, mutex& b) {
            for (int i = 0; i < 10; ++i) {
                std::scoped_lock both{a, b};
                this_fiber::yield();
                ++done;
            }
        };
        fiber x{work, std::ref(first), std::ref(second)};
        fiber y{work, std::ref(second), std::ref(first)};
        x.join();
        y.join();
        CHECK(done == 20);
    });
}

TEST_CASE("scoped_lock of three mutexes by fibers of one hub comes to an end") {
    testing::run([] {
        mutex a;
        mutex b;
        mutex c;
        int done = 0;
        auto work = [&](mutex& first, mutex& second, mutex& third) {
            for (int i = 0; i < 10; ++i) {
                std::scoped_lock all{first, second, third};
                this_fiber::yield();
                ++done;
            }
        };
        fiber x{work, std::ref(a), std::ref(b), std::ref(c)};
        fiber y{work, std::ref(b), std::ref(c), std::ref(a)};
        fiber z{work, std::ref(c), std::ref(b), std::ref(a)};
        x.join();
        y.join();
        z.join();
        CHECK(done == 30);
    });
}

TEST_CASE("locking a mutex that one holds is refused") {
    testing::run([] {
        mutex door;
        std::scoped_lock lock{door};
        try {
            door.lock();
            FAIL_CHECK("locked twice");
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::resource_deadlock_would_occur);
        }
    });
}

TEST_CASE("who is cancelled while waiting for a mutex does not get it, and the next one does") {
    testing::run([] {
        mutex door;
        std::string log;
        std::unique_lock lock{door};
        fiber a{[&] {
            CHECK_THROWS_AS(door.lock(), cancelled);
            log += "a cancelled, ";
        }};
        fiber b{[&] {
            std::scoped_lock inner{door};
            log += "b entered";
        }};
        this_fiber::yield();
        a.cancel();
        a.join();
        lock.unlock();
        b.join();
        CHECK(log == "a cancelled, b entered");
        CHECK(door.try_lock());
        door.unlock();
    });
}

TEST_CASE("who is cancelled after the mutex was handed over holds it") {
    testing::run([] {
        mutex door;
        std::unique_lock lock{door};
        bool held = false;
        fiber a{[&] {
            std::scoped_lock inner{door};
            held = true;
            CHECK_THROWS_AS(this_fiber::yield(), cancelled);
        }};
        this_fiber::yield();
        lock.unlock();
        a.cancel();
        a.join();
        CHECK(held);
        CHECK(door.try_lock());
        door.unlock();
    });
}

TEST_CASE("a timeout cuts off the wait for a mutex") {
    testing::run([] {
        mutex door;
        std::unique_lock lock{door};
        const auto start = clock::now();
        fiber late{[&] {
            timeout limit{1s};
            CHECK_THROWS_AS(door.lock(), timed_out);
            CHECK(clock::now() - start == 1s);
        }};
        late.join();
        lock.unlock();
        lock.lock();
    });
}

TEST_CASE("a mutex whose holder is cancelled goes to the next through the holder's unwinding") {
    testing::run([] {
        mutex door;
        std::string log;
        fiber holder{[&] {
            std::scoped_lock lock{door};
            this_fiber::sleep_for(1h);
        }};
        auto enter = [&](char letter) {
            std::scoped_lock lock{door};
            log += letter;
        };
        fiber a{enter, 'a'};
        fiber b{enter, 'b'};
        this_fiber::sleep_for(1s);
        CHECK(log.empty());
        holder.cancel();
        a.join();
        b.join();
        CHECK(log == "ab");
    });
}

TEST_CASE("a mutex whose holder fails goes to the next through the holder's unwinding") {
    testing::run([] {
        mutex door;
        bool entered = false;
        fiber holder{[&] {
            std::scoped_lock lock{door};
            this_fiber::sleep_for(1s);
            throw 1;
        }};
        fiber next{[&] {
            std::scoped_lock lock{door};
            entered = true;
        }};
        CHECK_THROWS_AS(holder.join(), int);
        next.join();
        CHECK(entered);
    });
}

TEST_CASE("fibers of two hubs and a plain thread take turns with one mutex, and no count is lost") {
    constexpr int turns = 2000;
    mutex door;
    long count = 0; // not atomic: the mutex guards it
    auto work = [&] {
        for (int i = 0; i < turns; ++i) {
            std::scoped_lock lock{door};
            ++count;
            if (i % 64 == 0)
                this_fiber::yield();
        }
    };
    support::on_two_hubs_and_a_thread(work);
    CHECK(count == 5L * turns);
}

TEST_CASE("a mutex is the plain thread's that locked it, too") {
    mutex door;
    std::scoped_lock lock{door};
    CHECK_THROWS_AS(door.lock(), std::system_error);
    bool taken = true;
    std::thread{[&] { taken = door.try_lock(); }}.join();
    CHECK(!taken);
}

// ---- timed_mutex ----------------------------------------------------------------------------------------------------

TEST_CASE("try_lock_for gives up when its time is over, and leaves the mutex as it was") {
    testing::run([] {
        timed_mutex door;
        std::unique_lock lock{door};
        fiber impatient{[&] {
            const auto start = clock::now();
            CHECK(!door.try_lock_for(1s));
            CHECK(clock::now() - start == 1s);
            CHECK(!door.try_lock_until(start + 3s));
            CHECK(clock::now() - start == 3s);
            CHECK(!door.try_lock_for(0s));
            CHECK(!door.try_lock_for(-1s));
            CHECK(!door.try_lock_until(start));
            CHECK(clock::now() - start == 3s);
        }};
        impatient.join();
        lock.unlock();
        CHECK(door.try_lock());
        door.unlock();
    });
}

TEST_CASE("try_lock_for has the mutex as soon as it is given up") {
    testing::run([] {
        timed_mutex door;
        std::unique_lock lock{door};
        fiber patient{[&] {
            const auto start = clock::now();
            std::unique_lock inner{door, 1h};
            CHECK(inner.owns_lock());
            CHECK(clock::now() - start == 1s);
        }};
        this_fiber::sleep_for(1s);
        lock.unlock();
        patient.join();
        CHECK(door.try_lock());
        door.unlock();
    });
}

TEST_CASE("a timed_mutex nobody holds is taken without suspending, even if there is no time left") {
    testing::run([] {
        timed_mutex free;
        const no_suspend here;
        std::unique_lock lock{free, 0s};
        CHECK(lock.owns_lock());
    });
}

TEST_CASE("the limited and the patient wait for a timed_mutex in one line") {
    testing::run([] {
        timed_mutex door;
        std::string log;
        std::unique_lock lock{door};
        fiber a{[&] {
            CHECK(door.try_lock_for(1h));
            log += 'a';
            door.unlock();
        }};
        fiber gone{[&] { CHECK(!door.try_lock_for(1s)); }};
        fiber b{[&] {
            std::scoped_lock inner{door};
            log += 'b';
        }};
        fiber c{[&] {
            CHECK(door.try_lock_for(1h));
            log += 'c';
            door.unlock();
        }};
        this_fiber::sleep_for(2s);
        lock.unlock();
        lock.lock();
        CHECK(log == "abc");
    });
}

TEST_CASE("a mutex given up in the very instant when the time is over is not lost") {
    testing::run([] {
        for (bool waiter_first : {true, false}) { // both timers are due in one turn, in one order or the other
            timed_mutex door;
            int had = 0;
            fiber_group both;
            auto wait = [&] {
                this_fiber::yield();
                if (door.try_lock_for(1s)) {
                    ++had;
                    door.unlock();
                }
            };
            if (waiter_first)
                both.spawn(wait);
            both.spawn([&] {
                std::scoped_lock lock{door};
                this_fiber::sleep_for(1s);
            });
            if (!waiter_first)
                both.spawn(wait);
            both.join();
            CHECK(had <= 1);
            CHECK(door.try_lock());
            door.unlock();
        }
    });
}

TEST_CASE("who is cancelled in try_lock_for does not get the mutex, and the next one does") {
    testing::run([] {
        timed_mutex door;
        std::string log;
        std::unique_lock lock{door};
        fiber a{[&] {
            CHECK_THROWS_AS(door.try_lock_for(1h), cancelled);
            log += "a cancelled, ";
        }};
        fiber b{[&] {
            CHECK(door.try_lock_for(1h));
            log += "b entered";
            door.unlock();
        }};
        this_fiber::yield();
        a.cancel();
        a.join();
        lock.unlock();
        b.join();
        CHECK(log == "a cancelled, b entered");
    });
}

TEST_CASE("of a timeout around try_lock_for and its own limit, the earlier says how it ends") {
    testing::run([] {
        timed_mutex door;
        std::unique_lock lock{door};
        fiber other{[&] {
            const timeout limit{1min};
            CHECK(!door.try_lock_for(1s));
            CHECK_THROWS_AS(door.try_lock_for(1h), timed_out);
        }};
        other.join();
    });
}

TEST_CASE("try_lock_for of a timed_mutex that one holds is refused") {
    testing::run([] {
        timed_mutex door;
        std::scoped_lock lock{door};
        CHECK_THROWS_AS(static_cast<void>(door.try_lock_for(1h)), std::system_error);
    });
}

TEST_CASE("a plain thread's try_lock_for ends at its time, or with the mutex") {
    timed_mutex door;
    std::unique_lock lock{door};
    bool had = true;
    std::thread{[&] { had = door.try_lock_for(1ms); }}.join();
    CHECK(!had);
    std::thread patient{[&] {
        had = door.try_lock_for(1h);
        door.unlock();
    }};
    lock.unlock();
    patient.join();
    CHECK(had);
}

TEST_SUITE_END();
