// SPDX-License-Identifier: BSL-1.0
#include "hubs.hpp"

#include <doctest/doctest.h>

#include <coir/condition_variable_any.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/mutex.hpp>
#include <coir/recursive_mutex.hpp>
#include <coir/shared_mutex.hpp>
#include <coir/testing.hpp>

#include <deque>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

/// A lock that suspends on the way out, as one would that tells somebody over a socket.
class slow_lock {
public:
    void lock() { door_.lock(); }
    void unlock()
    {
        door_.unlock();
        this_fiber::sleep_for(1s);
    }

private:
    mutex door_;
};

} // namespace

TEST_SUITE_BEGIN("condition_variable_any");

TEST_CASE_TEMPLATE("any lock is given up for the wait and held again after it", Lock, mutex, timed_mutex,
                   recursive_mutex, shared_mutex) {
    testing::run([] {
        Lock lock;
        condition_variable_any changed;
        int state = 0;
        fiber waiter{[&] {
            lock.lock();
            changed.wait(lock, [&] { return state == 1; });
            state = 2;
            this_fiber::sleep_for(1s);
            CHECK(state == 2); // nobody got in
            lock.unlock();
        }};
        this_fiber::yield();
        lock.lock();
        state = 1;
        changed.notify_one();
        lock.unlock();
        this_fiber::yield();
        lock.lock();
        CHECK(state == 2);
        state = 3;
        lock.unlock();
    });
}

TEST_CASE("readers wait for what a writer changes") {
    testing::run([] {
        shared_mutex door;
        condition_variable_any changed;
        int version = 0;
        int seen = 0;
        fiber_group readers;
        for (int i = 0; i < 3; ++i)
            readers.spawn([&] {
                std::shared_lock lock{door};
                changed.wait(lock, [&] { return version > 0; });
                CHECK(lock.owns_lock());
                ++seen;
                this_fiber::sleep_for(1s);
                CHECK(seen == 3); // they are in together again
            });
        this_fiber::yield();
        {
            std::scoped_lock lock{door};
            version = 1;
        }
        changed.notify_all();
        readers.join();
    });
}

TEST_CASE("notify_one wakes who has waited longest, notify_all everyone") {
    testing::run([] {
        mutex door;
        condition_variable_any changed;
        std::string log;
        fiber_group waiters;
        for (char letter : {'a', 'b', 'c', 'd'})
            waiters.spawn([&, letter] {
                std::unique_lock lock{door};
                changed.wait(lock);
                log += letter;
            });
        this_fiber::yield();
        changed.notify_one();
        this_fiber::sleep_for(1s);
        CHECK(log == "a");
        changed.notify_all();
        waiters.join();
        CHECK(log == "abcd");
        changed.notify_one(); // for nobody
        changed.notify_all();
    });
}

TEST_CASE("wait_for and wait_until end in time, with the lock held") {
    testing::run([] {
        timed_mutex door;
        condition_variable_any changed;
        std::unique_lock lock{door};
        const auto start = clock::now();
        CHECK(changed.wait_for(lock, 1s) == std::cv_status::timeout);
        CHECK(clock::now() - start == 1s);
        CHECK(lock.owns_lock());
        CHECK(changed.wait_until(lock, start + 2s) == std::cv_status::timeout);
        CHECK(clock::now() - start == 2s);
        CHECK(!changed.wait_for(lock, 1s, [] { return false; }));
        CHECK(!changed.wait_until(lock, start + 4s, [] { return false; }));
        CHECK(clock::now() - start == 4s);
        CHECK(changed.wait_for(lock, 1s, [] { return true; }));
        bool ready = false;
        fiber silent{[&] {
            this_fiber::sleep_for(500ms);
            ready = true;
        }};
        CHECK(changed.wait_for(lock, 1s, [&] { return ready; })); // at the deadline, and nobody has notified
    });
}

TEST_CASE("a stop request ends a wait, and the predicate says with what result") {
    testing::run([] {
        mutex door;
        condition_variable_any changed;
        std::string log;
        fiber waiter{[&](std::stop_token stop) {
            std::unique_lock lock{door};
            CHECK(!changed.wait(lock, stop, [] { return false; }));
            CHECK(lock.owns_lock());
            log += "stopped, ";
            CHECK(!changed.wait(lock, stop, [] { return false; })); // at once
            CHECK(changed.wait(lock, stop, [] { return true; }));
            CHECK(!changed.wait_for(lock, stop, 1h, [] { return false; }));
            log += "and stopped";
        }};
        this_fiber::sleep_for(1s);
        CHECK(log.empty());
        waiter.request_stop();
        waiter.join();
        CHECK(log == "stopped, and stopped");
    });
}

TEST_CASE("with a stop_token, notifications and deadlines count as they do without") {
    testing::run([] {
        mutex door;
        condition_variable_any changed;
        bool ready = false;
        std::stop_source source;
        fiber notifier{[&] {
            this_fiber::sleep_for(1s);
            changed.notify_all(); // for nothing
            this_fiber::sleep_for(1s);
            ready = true;
            changed.notify_all();
        }};
        std::unique_lock lock{door};
        const auto start = clock::now();
        CHECK(changed.wait(lock, source.get_token(), [&] { return ready; }));
        CHECK(clock::now() - start == 2s);
        CHECK(!changed.wait_for(lock, source.get_token(), 1s, [] { return false; }));
        CHECK(!changed.wait_until(lock, source.get_token(), start + 4s, [] { return false; }));
        CHECK(clock::now() - start == 4s);
        CHECK(!changed.wait_for(lock, std::stop_token{}, 1s, [] { return false; })); // one that cannot stop
    });
}

TEST_CASE("a stop wakes only who waits with its token, and takes nobody's notification") {
    testing::run([] {
        mutex door;
        condition_variable_any changed;
        std::string log;
        std::stop_source source;
        fiber stopped{[&] {
            std::unique_lock lock{door};
            CHECK(!changed.wait(lock, source.get_token(), [] { return false; }));
            log += "stopped, ";
        }};
        fiber waiter{[&] {
            std::unique_lock lock{door};
            changed.wait(lock);
            log += "notified";
        }};
        this_fiber::yield();
        source.request_stop();
        stopped.join();
        this_fiber::sleep_for(1s);
        CHECK(log == "stopped, ");
        changed.notify_one();
        waiter.join();
        CHECK(log == "stopped, notified");
    });
}

TEST_CASE("a notification that meets a waiter on its way out goes to the next") {
    testing::run([] {
        mutex door;
        condition_variable_any changed;
        std::stop_source source;
        fiber stopped{[&] {
            std::unique_lock lock{door};
            CHECK(!changed.wait(lock, source.get_token(), [] { return false; }));
        }};
        bool notified = false;
        fiber waiter{[&] {
            std::unique_lock lock{door};
            changed.wait(lock);
            notified = true;
        }};
        this_fiber::yield();
        source.request_stop();
        changed.notify_one(); // `stopped` has not left the queue yet
        waiter.join();
        stopped.join();
        CHECK(notified);
    });
}

TEST_CASE("a stop request that comes between the predicate and the wait is not missed") {
    testing::run([] {
        mutex door;
        condition_variable_any changed;
        std::stop_source source;
        std::unique_lock lock{door};
        CHECK(!changed.wait(lock, source.get_token(), [&] {
            source.request_stop();
            return false;
        }));
    });
}

TEST_CASE("a stop request from within the lock's own unlock is not missed") {
    struct stopping_lock {
        mutex door;
        std::stop_source source;
        void lock() { door.lock(); }
        void unlock()
        {
            door.unlock();
            source.request_stop();
        }
    };
    testing::run([] {
        stopping_lock lock;
        condition_variable_any changed;
        lock.lock();
        CHECK(!changed.wait(lock, lock.source.get_token(), [] { return false; }));
        lock.unlock();
    });
}

TEST_CASE("a lock may suspend as it is given up, and a notification that comes then is not lost") {
    testing::run([] {
        slow_lock lock;
        condition_variable_any changed;
        const auto start = clock::now();
        bool ready = false;
        fiber waiter{[&] {
            lock.lock();
            changed.wait(lock, [&] { return ready; });
            CHECK(clock::now() - start == 1s); // its unlock has slept to its end, and there was nothing to wait for
            lock.unlock();
        }};
        this_fiber::sleep_for(500ms);
        ready = true;
        changed.notify_all();
        waiter.join();
    });
}

TEST_CASE("who waits with a lock that suspends may be notified of the end of the condition") {
    testing::run([] {
        slow_lock lock;
        auto changed = std::make_unique<condition_variable_any>();
        fiber waiter{[&] {
            lock.lock();
            changed->wait(lock);
            lock.unlock();
        }};
        this_fiber::sleep_for(500ms);
        changed->notify_all();
        changed.reset(); // [thread.condition.condvarany]/5: all have been notified
        waiter.join();
    });
}

TEST_CASE("a lock that cannot be given up leaves nothing in the queue") {
    testing::run([] {
        mutex door;
        condition_variable_any changed;
        std::unique_lock lock{door, std::defer_lock};
        CHECK_THROWS_AS(changed.wait(lock), std::system_error);
        changed.notify_all();
    });
}

TEST_CASE("who is cancelled while waiting holds the lock while it unwinds") {
    testing::run([] {
        shared_mutex door;
        condition_variable_any changed;
        std::string log;
        fiber waiter{[&] {
            std::unique_lock lock{door};
            try {
                changed.wait(lock);
            } catch (const cancelled&) {
                CHECK(lock.owns_lock());
                CHECK(!door.try_lock());
                log += "cancelled with the lock";
                throw;
            }
        }};
        fiber late{[&] {
            std::unique_lock lock{door};
            const timeout limit{1s};
            CHECK_THROWS_AS(changed.wait(lock), timed_out);
            CHECK(lock.owns_lock());
        }};
        this_fiber::yield();
        std::unique_lock lock{door};
        waiter.cancel();
        this_fiber::sleep_for(2s);
        CHECK(log.empty()); // it wants the lock back first
        lock.unlock();
        waiter.join();
        late.join();
        CHECK(log == "cancelled with the lock");
        CHECK(door.try_lock());
        door.unlock();
    });
}

TEST_CASE("neither a notification nor a cancellation is lost when both come") {
    testing::run([] {
        mutex door;
        condition_variable_any changed;
        std::string log;
        auto wait = [&](char letter) {
            std::unique_lock lock{door};
            changed.wait(lock);
            log += letter;
            CHECK_THROWS_AS(this_fiber::yield(), cancelled);
        };
        fiber a{wait, 'a'};
        fiber b{wait, 'b'};
        this_fiber::yield();
        a.cancel();
        changed.notify_one(); // goes to b
        b.cancel();           // too late: it has been notified
        a.join();
        b.join();
        CHECK(log == "b");
    });
}

TEST_CASE("jobs handed from a plain thread to fibers of two hubs are each done once, and a stop ends the hubs") {
    constexpr int jobs = 2000;
    shared_mutex guard;
    condition_variable_any changed;
    std::deque<int> queue;
    std::vector<int> done(jobs, 0);
    std::stop_source finished;
    auto work = [&] {
        std::unique_lock lock{guard};
        while (changed.wait(lock, finished.get_token(), [&] { return !queue.empty(); })) {
            const int job = queue.front();
            queue.pop_front();
            lock.unlock();
            ++done[static_cast<std::size_t>(job)];
            lock.lock();
        }
    };
    std::thread one{[&] { support::in_two_fibers(work); }};
    std::thread two{[&] { support::in_two_fibers(work); }};
    std::thread three{work};
    for (int job = 0; job < jobs; ++job) {
        std::scoped_lock lock{guard};
        queue.push_back(job);
        changed.notify_one();
    }
    finished.request_stop(); // the predicate still holds until the queue is empty
    one.join();
    two.join();
    three.join();
    CHECK(done == std::vector<int>(jobs, 1));
}

TEST_SUITE_END();
