// SPDX-License-Identifier: BSL-1.0
// Every primitive at once, in schedules that a seed shuffles, with cancellations and time-outs strewn in. A lost
// wake-up shows as a deadlock, anything delivered twice or not at all in the sums.
#include "seed.hpp"

#include <doctest/doctest.h>

#include <coir/channel.hpp>
#include <coir/condition_variable.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/mutex.hpp>
#include <coir/semaphore.hpp>
#include <coir/testing.hpp>

#include <mutex>
#include <random>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

/// The primitives of one round, and what must hold of them at the end.
class world {
public:
    explicit world(std::uint64_t seed) : random_{seed} {}

    void operator()()
    {
        std::vector<fiber> workers;
        for (auto count = 2 + below(12); count > 0; --count)
            workers.emplace_back([this] { work(); });
        for (int turn = 0; !workers.empty(); ++turn) {
            pause();
            supply();
            if (below(8) == 0 || turn > 300)
                workers[below(workers.size())].cancel();
            std::erase_if(workers, [](fiber& each) { return each.join_for(0s); });
        }
        check();
    }

private:
    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    std::chrono::milliseconds a_while() { return std::chrono::milliseconds{below(20)}; }

    /// Changes who runs next.
    void pause()
    {
        switch (below(3)) {
        case 0: this_fiber::yield(); break;
        case 1: this_fiber::sleep_for(a_while()); break;
        default: break;
        }
    }

    /// Keeps the workers from waiting for each other for good: that is not what is tested here.
    void supply()
    {
        switch (below(5)) {
        case 0:
            permits_.release();
            ++released_;
            break;
        case 1: gate_.set(); break;
        case 2:
            if (auto value = values_.try_receive())
                received(*value);
            break;
        case 3: {
            const int value = next_value_++;
            state_.push_back(sending);
            if (values_.try_send(int{value}))
                sent(value);
            break;
        }
        default: {
            std::unique_lock lock{door_};
            ++tokens_;
            ++made_;
            changed_.notify_one();
            break;
        }
        }
    }

    void work()
    {
        const auto steps = 1 + below(30);
        for (std::uint64_t i = 0; i < steps; ++i) {
            pause();
            try {
                if (below(3) == 0) {
                    timeout limit{a_while()};
                    step();
                } else if (below(8) == 0) {
                    shield undisturbed;
                    step();
                } else {
                    step();
                }
            } catch (const timed_out&) {
            }
        }
    }

    void step()
    {
        switch (below(7)) {
        case 0: {
            std::scoped_lock lock{door_};
            CHECK(++inside_ == 1);
            struct leave {
                int& inside;
                ~leave() { --inside; }
            } left{inside_};
            pause();
            break;
        }
        case 1:
            if (below(2)) {
                permits_.acquire();
                ++acquired_;
            } else {
                acquired_ += permits_.try_acquire_for(a_while());
            }
            if (below(2)) {
                permits_.release();
                ++released_;
            }
            break;
        case 2: {
            const int value = next_value_++;
            state_.push_back(sending);
            if (below(2)) {
                values_.send(value);
                sent(value);
            } else if (values_.send_for(value, a_while())) {
                sent(value);
            }
            break;
        }
        case 3:
            if (auto value = below(2) ? values_.receive() : values_.receive_for(a_while()))
                received(*value);
            break;
        case 4: {
            std::unique_lock lock{door_};
            if (below(2)) {
                changed_.wait(lock, [&] { return tokens_ > 0; });
            } else if (!changed_.wait_for(lock, a_while(), [&] { return tokens_ > 0; })) {
                break;
            }
            --tokens_;
            ++taken_;
            break;
        }
        case 5:
            gate_.wait_for(a_while());
            if (below(2))
                gate_.reset();
            break;
        default: {
            std::unique_lock lock{door_};
            ++tokens_;
            ++made_;
            below(2) ? changed_.notify_one() : changed_.notify_all();
            break;
        }
        }
    }

    static constexpr int sending = 1;
    static constexpr int was_sent = 2;
    static constexpr int was_received = 4;

    void sent(int value) { state_[static_cast<std::size_t>(value)] |= was_sent; }
    void received(int value)
    {
        auto& state = state_[static_cast<std::size_t>(value)];
        CHECK((state & was_received) == 0);
        state |= was_received;
    }

    void check()
    {
        while (auto value = values_.try_receive())
            received(*value);
        for (int state : state_) // received means sent, and what was not sent was not received
            CHECK(((state & was_sent) != 0) == ((state & was_received) != 0));
        int permits = 0;
        while (permits_.try_acquire())
            ++permits;
        CHECK(permits == 3 + released_ - acquired_);
        CHECK(tokens_ == made_ - taken_);
        CHECK(inside_ == 0);
        CHECK(door_.try_lock());
        door_.unlock();
    }

    std::mt19937_64 random_;

    mutex door_;
    int inside_ = 0;
    condition_variable changed_;
    int tokens_ = 0;
    int made_ = 0;
    int taken_ = 0;

    counting_semaphore<> permits_{3};
    int released_ = 0;
    int acquired_ = 0;

    channel<int> values_{below(4)};
    int next_value_ = 0;
    std::vector<int> state_;

    event gate_;
};

} // namespace

TEST_SUITE_BEGIN("stress");

TEST_CASE("no wake-up is lost and nothing is delivered twice, whoever is cancelled when") {
    const auto seed = support::seed();
    CAPTURE(seed);
    for (std::uint64_t i = 0; i < 200; ++i) {
        CAPTURE(i);
        testing::run([&] { world{seed + i}(); });
    }
}

TEST_CASE("one permit goes around among waiters that are cancelled and time out") {
    const auto seed = support::seed();
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    for (int i = 0; i < 100; ++i)
        testing::run([&] {
            binary_semaphore permit{1};
            mutex door;
            int entered = 0;
            std::vector<fiber> fibers;
            for (int j = 0; j < 20; ++j)
                fibers.emplace_back([&] {
                    for (int k = 0; k < 10; ++k) {
                        if (!permit.try_acquire_for(std::chrono::milliseconds{random() % 10}))
                            continue;
                        struct give_back {
                            binary_semaphore& to;
                            ~give_back() { to.release(); }
                        } later{permit};
                        std::scoped_lock lock{door};
                        ++entered;
                        this_fiber::sleep_for(std::chrono::milliseconds{random() % 3});
                    }
                });
            while (!fibers.empty()) {
                this_fiber::sleep_for(std::chrono::milliseconds{random() % 5});
                auto& victim = fibers[random() % fibers.size()];
                victim.cancel();
                victim.join();
                std::swap(victim, fibers.back());
                fibers.pop_back();
            }
            CHECK(entered > 0);
            CHECK(permit.try_acquire());
            CHECK(!permit.try_acquire());
        });
}

TEST_CASE("cancellations from another thread lose no value of a channel between two hubs") {
    const auto seed = support::seed();
    CAPTURE(seed);
    constexpr int values = 2000;
    channel<int> pipe{2};
    std::vector<std::atomic<int>> seen(values);
    std::atomic<int> received{0};
    std::thread producer{[&] {
        coir::run([&] {
            for (int i = 0; i < values; ++i)
                pipe.send(i);
            pipe.close();
        });
    }};
    std::mt19937_64 random{seed};
    channel<fiber*> victims;
    binary_semaphore done{0}; // joining the handle while another thread uses it would not be safe
    std::thread canceller{[&] {
        for (auto* victim : victims) {
            victim->cancel();
            done.release();
        }
    }};
    coir::run([&] {
        // One receiver after the other, each cancelled at some point of its waiting or receiving.
        for (bool closed = false; !closed;) {
            fiber receiver{[&] {
                for (;;) {
                    const auto value = pipe.receive();
                    if (!value) {
                        closed = true;
                        return;
                    }
                    seen[static_cast<std::size_t>(*value)].fetch_add(1);
                    received.fetch_add(1);
                }
            }};
            for (auto turns = random() % 8; turns > 0; --turns)
                this_fiber::yield();
            victims.send(&receiver);
            done.acquire();
            receiver.join();
        }
    });
    victims.close();
    producer.join();
    canceller.join();
    CHECK(received == values);
    bool once = true;
    for (auto& count : seen)
        once = once && count.load() == 1;
    CHECK(once);
}

TEST_SUITE_END();
