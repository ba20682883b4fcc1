// SPDX-License-Identifier: BSL-1.0
// The locks across threads: fibers of two hubs and plain threads at the same objects, cut off and cancelled (from
// another thread, too) at any moment. A lost wake-up is a hang, a broken lock a sum that is wrong or a race that TSan
// sees: what the locks guard is not atomic.
#include "seed.hpp"

#include <doctest/doctest.h>

#include <coir/barrier.hpp>
#include <coir/condition_variable_any.hpp>
#include <coir/deadline.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/mutex.hpp>
#include <coir/once.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>
#include <coir/shared_mutex.hpp>
#include <coir/testing.hpp>

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

/// What everybody hammers at, and what must hold of it.
class arena {
public:
    using random = std::mt19937_64;

    void step(random& dice)
    {
        switch (dice() % 6) {
        case 0: exclusive(dice); break;
        case 1: shared(dice); break;
        case 2: produce(dice); break;
        case 3: consume(dice); break;
        case 4: permit(dice); break;
        default: once(dice); break;
        }
    }

    void check()
    {
        CHECK(door_.try_lock());
        door_.unlock();
        CHECK(table_.try_lock());
        table_.unlock();
        CHECK(entries_ == entries_counted_);
        CHECK(left_ == writes_counted_);
        CHECK(right_ == writes_counted_);
        CHECK(torn_ == 0);
        CHECK(crowded_ == 0);
        CHECK(tokens_ == made_ - taken_);
        int permits = 0;
        while (permits_.try_acquire())
            ++permits;
        CHECK(permits == 2);
        for (std::size_t i = 0; i < flags_.size(); ++i)
            CHECK(done_[i] <= 1);
    }

    static std::chrono::microseconds a_moment(random& dice) { return std::chrono::microseconds{dice() % 300}; }

private:
    static void linger(random& dice)
    {
        if (dice() % 4 == 0)
            this_fiber::yield();
    }

    void exclusive(random& dice)
    {
        std::unique_lock lock{door_, std::defer_lock};
        if (dice() % 3 == 0)
            lock.lock();
        else if (dice() % 2 == 0)
            static_cast<void>(lock.try_lock_for(a_moment(dice)));
        else
            static_cast<void>(lock.try_lock());
        if (!lock)
            return;
        ++entries_;
        ++entries_counted_;
        crowded_ += ++inside_ != 1;
        struct leave {
            int& inside;
            ~leave() { --inside; }
        } const left{inside_};
        linger(dice);
    }

    void shared(random& dice)
    {
        if (dice() % 3 == 0) {
            std::unique_lock lock{table_, std::defer_lock};
            if (dice() % 2 == 0)
                lock.lock();
            else if (!lock.try_lock_for(a_moment(dice)))
                return;
            ++writes_counted_;
            ++left_;
            struct other_half {
                long& half;
                ~other_half() { ++half; } // whatever ends the wait in between
            } const later{right_};
            linger(dice);
        } else {
            std::shared_lock lock{table_, std::defer_lock};
            if (dice() % 2 == 0)
                lock.lock();
            else if (!lock.try_lock_for(a_moment(dice)))
                return;
            torn_ += left_ != right_;
            linger(dice);
        }
    }

    void produce(random& dice)
    {
        std::unique_lock lock{table_};
        ++tokens_;
        ++made_;
        dice() % 2 == 0 ? came_.notify_one() : came_.notify_all();
    }

    void consume(random& dice)
    {
        std::unique_lock lock{table_};
        const auto there_is = [&] { return tokens_ > 0; };
        bool have = false;
        if (dice() % 2 == 0) {
            have = came_.wait_for(lock, a_moment(dice), there_is);
        } else {
            // The source is stopped by whoever comes along; so a stop meets waits, notifications and time-outs.
            std::stop_source source;
            {
                const std::scoped_lock held{source_door_};
                std::swap(source, source_);
            }
            source.request_stop();
            const auto token = source_token();
            have = came_.wait_for(lock, token, a_moment(dice), there_is);
        }
        if (!have)
            return;
        --tokens_;
        ++taken_;
    }

    std::stop_token source_token()
    {
        const std::scoped_lock held{source_door_};
        return source_.get_token();
    }

    void permit(random& dice)
    {
        if (dice() % 2 == 0)
            permits_.acquire();
        else if (!permits_.try_acquire_for(a_moment(dice)))
            return;
        struct give_back {
            counting_semaphore<>& to;
            ~give_back() { to.release(); }
        } const later{permits_};
        crowded_ += ++using_permits_ > 2;
        struct leave {
            std::atomic<int>& inside;
            ~leave() { --inside; }
        } const left{using_permits_};
        linger(dice);
    }

    void once(random& dice)
    {
        const auto which = dice() % flags_.size();
        try {
            call_once(flags_[which], [&] {
                linger(dice);
                if (dice() % 4 == 0)
                    throw which;
                ++done_[which];
            });
            crowded_ += done_[which] != 1;
        } catch (std::size_t) {
        }
    }

    timed_mutex door_;
    int inside_ = 0;
    long entries_ = 0;
    std::atomic<long> entries_counted_{0};

    shared_timed_mutex table_;
    long left_ = 0;
    long right_ = 0;
    std::atomic<long> writes_counted_{0};

    condition_variable_any came_;
    int tokens_ = 0;
    int made_ = 0;
    int taken_ = 0;
    mutex source_door_;
    std::stop_source source_;

    counting_semaphore<> permits_{2};
    std::atomic<int> using_permits_{0};

    std::array<once_flag, 64> flags_;
    std::array<int, 64> done_{};

    std::atomic<int> torn_{0};
    std::atomic<int> crowded_{0};
};

/// A fiber that a thread elsewhere may cancel while it is in here.
class victim {
public:
    void enter(fiber& one)
    {
        const std::scoped_lock held{door_};
        one_ = &one;
    }
    void leave()
    {
        const std::scoped_lock held{door_};
        one_ = nullptr;
    }
    void cancel()
    {
        const std::scoped_lock held{door_};
        if (one_)
            one_->cancel();
    }

private:
    mutex door_;
    fiber* one_ = nullptr;
};

} // namespace

TEST_SUITE_BEGIN("stress");

TEST_CASE("fibers of two hubs and plain threads share all locks, whoever is cancelled or cut off when") {
    const auto seed = support::seed();
    CAPTURE(seed);
    constexpr int slots = 3;        // fibers at a time, of each hub
    constexpr int generations = 12; // of fibers, in each slot
    constexpr int steps = 200;      // of each fiber, if it lives that long

    arena ground;
    std::array<victim, std::size_t{2} * slots> victims;
    std::atomic<int> hubs_running{2};

    auto live = [&](arena::random& dice) {
        for (int i = 0; i < steps; ++i) {
            std::optional<timeout> limit;
            if (this_fiber::active() && dice() % 3 == 0)
                limit.emplace(arena::a_moment(dice));
            try {
                ground.step(dice);
            } catch (const timed_out&) {
            }
        }
    };
    auto slot = [&](std::size_t index) {
        for (int generation = 0; generation < generations; ++generation) {
            binary_semaphore ended{0};
            fiber worker{[&] {
                struct at_the_end {
                    binary_semaphore& ended;
                    ~at_the_end() { ended.release(); }
                } const later{ended};
                arena::random dice{seed + index * 1000 + static_cast<std::uint64_t>(generation)};
                live(dice);
            }};
            victims[index].enter(worker);
            ended.acquire();
            victims[index].leave();
            worker.join();
        }
    };
    auto hub = [&](std::size_t first) {
        coir::run([&] {
            fiber_group group;
            for (std::size_t i = first; i < first + slots; ++i)
                group.spawn(slot, i);
            group.join();
        });
        --hubs_running;
    };
    auto plain = [&](std::uint64_t number) {
        arena::random dice{seed + 100'000 + number};
        for (int i = 0; i < 4; ++i)
            live(dice);
    };

    std::thread one{hub, 0U};
    std::thread two{hub, std::size_t{slots}};
    std::thread three{plain, 3U};
    std::thread four{plain, 4U};
    arena::random dice{seed};
    while (hubs_running > 0) {
        victims[dice() % victims.size()].cancel();
        for (auto turns = dice() % 64; turns > 0; --turns)
            std::this_thread::yield();
    }
    one.join();
    two.join();
    three.join();
    four.join();
    ground.check();
}

TEST_CASE("whichever wait for a lock is cancelled, in whatever order fibers run, the locks are as they should be") {
    const auto seed = support::seed();
    CAPTURE(seed);
    std::uint64_t waits = 0;
    for (std::uint64_t i = 0; i < 10; ++i) {
        CAPTURE(i);
        waits += testing::cancel_each_wait(seed + i, [&] {
            arena ground;
            std::vector<fiber> fibers;
            for (std::uint64_t number = 0; number < 6; ++number)
                fibers.emplace_back([&, number] {
                    arena::random dice{seed + i * 1000 + number};
                    for (int step = 0; step < 30; ++step)
                        ground.step(dice);
                });
            for (auto& each : fibers)
                each.join();
            ground.check();
        });
    }
    CHECK(waits > 0);
}

TEST_CASE("a barrier keeps fibers of two hubs and a plain thread in step though their waits are cut off") {
    const auto seed = support::seed();
    CAPTURE(seed);
    constexpr int phases = 150;
    std::atomic<int> completed{0};
    std::array<int, 5> at{}; // not atomic: a party's own, and the completion's when all have arrived
    int wrong = 0;
    auto completion = [&]() noexcept {
        const int phase = completed + 1;
        for (int each : at)
            wrong += each != phase;
        completed = phase;
    };
    barrier step{5, completion};
    auto party = [&](std::size_t index) {
        std::mt19937_64 dice{seed + index};
        for (int phase = 1; phase <= phases; ++phase) {
            at[index] = phase;
            auto token = step.arrive();
            for (bool through = false; !through;) {
                std::optional<timeout> limit;
                if (this_fiber::active() && dice() % 2 == 0)
                    limit.emplace(std::chrono::microseconds{dice() % 100});
                try {
                    step.wait(std::move(token));
                    through = true;
                } catch (const timed_out&) { // it has arrived all the same, and its token still counts
                }
            }
            if (completed < phase)
                FAIL_CHECK("somebody went on before the phase was complete");
        }
    };
    auto hub = [&](std::size_t first) {
        coir::run([&] {
            fiber a{party, first};
            fiber b{party, first + 1};
            a.join();
            b.join();
        });
    };
    std::thread one{hub, 0U};
    std::thread two{hub, 2U};
    party(4);
    one.join();
    two.join();
    CHECK(wrong == 0);
    CHECK(completed == phases);
}

TEST_SUITE_END();
