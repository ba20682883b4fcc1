// SPDX-License-Identifier: BSL-1.0
// Channels and selects between two hubs and plain threads, with cancellations and time-outs strewn in. Every value has
// a number of its own, and who has sent or received one says so: nothing may be lost or come twice.
#include "seed.hpp"

#include <doctest/doctest.h>

#include <coir/channel.hpp>
#include <coir/fiber.hpp>
#include <coir/promise.hpp>
#include <coir/runtime.hpp>
#include <coir/select.hpp>
#include <coir/semaphore.hpp>
#include <coir/wait_any.hpp>

#include <array>
#include <atomic>
#include <optional>
#include <random>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

class exchange {
public:
    explicit exchange(std::uint64_t seed) : seed_{seed}, sent_(values), seen_(values) {}

    /// Until the numbers are used up. May be cancelled at any point, and begun again.
    void work(std::uint64_t who)
    {
        std::mt19937_64 random{seed_ + who};
        while (const auto number = next())
            try {
                if (random() % 4 == 0) {
                    const timeout limit{a_moment(random)}; // nothing on a plain thread
                    step(random, *number);
                } else {
                    step(random, *number);
                }
            } catch (const timed_out&) {
            }
    }

    /// Fibers that are cancelled from another thread, again and again.
    void hub(std::uint64_t who)
    {
        channel<fiber*> victims;
        binary_semaphore done{0};
        std::thread canceller{[&] {
            for (auto* victim : victims) {
                victim->cancel();
                done.release();
            }
        }};
        coir::run([&] {
            std::mt19937_64 random{seed_ + who};
            std::vector<fiber> workers;
            for (std::uint64_t i = 1; i <= 4; ++i)
                workers.emplace_back([this, id = who + i] { work(id); });
            while (!used_up()) {
                auto& unlucky = workers[random() % workers.size()];
                victims.send(&unlucky);
                done.acquire();
                unlucky.join();
                unlucky = fiber{[this, id = random()] { work(id); }};
                for (auto turns = random() % 20; turns > 0; --turns)
                    this_fiber::yield();
            }
        });
        victims.close();
        canceller.join();
    }

    /// What is left in the channels counts too; then every number that was sent has been seen once.
    void check()
    {
        for (auto* each : all_)
            while (const auto value = each->try_receive())
                saw(*value);
        bool equal = true;
        std::size_t passed = 0;
        for (std::size_t i = 0; i < values; ++i) {
            equal = equal && sent_[i].load() == seen_[i].load() && sent_[i].load() <= 1;
            passed += static_cast<std::size_t>(sent_[i].load());
        }
        CHECK(equal);
        CHECK(passed > 0);
        while (permits_.try_acquire())
            permits_taken_.fetch_add(1);
        CHECK(permits_taken_.load() == permits_given_.load());
    }

private:
    static constexpr std::size_t values = 6000;

    std::optional<std::size_t> next()
    {
        const auto number = next_.fetch_add(1);
        return number < values ? std::optional{number} : std::nullopt;
    }
    bool used_up() const { return next_.load() >= values; }
    static std::chrono::microseconds a_moment(std::mt19937_64& random)
    {
        return std::chrono::microseconds{random() % 50};
    }

    void sent(std::size_t number) { sent_[number].fetch_add(1); }
    void saw(std::size_t number) { seen_[number].fetch_add(1); }

    void step(std::mt19937_64& random, std::size_t number)
    {
        auto& one = *all_[random() % all_.size()];
        auto& two = *all_[random() % all_.size()]; // often the same
        const auto on_sent = [&] { sent(number); };
        const auto on_seen = [&](std::optional<std::size_t> value) { saw(*value); };
        switch (random() % 8) {
        case 0:
            if (one.send_for(number, a_moment(random)))
                sent(number);
            break;
        case 1:
            if (const auto value = one.receive_for(a_moment(random)))
                saw(*value);
            break;
        case 2:
            if (one.try_send(number))
                sent(number);
            break;
        case 3: select(on_receive(one, on_seen), on_send(two, number, on_sent), otherwise{[] {}}); break;
        case 4: {
            std::vector<receive_case<std::size_t>> cases;
            for (auto* each : all_)
                cases.emplace_back(*each);
            if (const auto chosen = select_for(a_moment(random), cases); chosen != cases.end())
                saw(*chosen->result());
            break;
        }
        case 5:
            permits_given_.fetch_add(1);
            permits_.release();
            select(on_receive(one, on_seen), on_acquire(permits_, [&] { permits_taken_.fetch_add(1); }),
                   on_timeout(a_moment(random), [] {}));
            break;
        default:
            select(on_receive(one, on_seen), on_send(two, number, on_sent), on_receive(two, on_seen),
                   on_timeout(a_moment(random), [] {}));
        }
    }

    std::uint64_t seed_;
    channel<std::size_t> hand_over_;
    channel<std::size_t> narrow_{2};
    channel<std::size_t> wide_{unbounded};
    std::array<channel<std::size_t>*, 3> all_{&wide_, &hand_over_, &narrow_};
    counting_semaphore<> permits_{0};
    std::atomic<std::size_t> permits_given_{0};
    std::atomic<std::size_t> permits_taken_{0};
    std::atomic<std::size_t> next_{0};
    std::vector<std::atomic<int>> sent_;
    std::vector<std::atomic<int>> seen_;
};

} // namespace

TEST_SUITE_BEGIN("stress");

TEST_CASE("selects, senders and receivers of two hubs and plain threads deliver each value exactly once") {
    exchange market{support::seed()};
    std::thread hub{[&] { market.hub(1000); }};
    std::thread plain{[&] { market.work(1); }};
    std::thread other_plain{[&] { market.work(2); }};
    market.hub(2000);
    hub.join();
    plain.join();
    other_plain.join();
    market.check();
}

TEST_CASE("wait_any sees each of the results that two hubs and a plain thread provide") {
    std::mt19937_64 random{support::seed()};
    for (int round = 0; round < 100; ++round) {
        std::array<promise<int>, 6> promises;
        std::vector<future<int>> results;
        for (auto& each : promises)
            results.push_back(each.get_future());
        auto provide = [&](std::size_t first, std::uint64_t turns) {
            for (auto i = first; i < first + 2; ++i) {
                for (; turns % 4 != 0; --turns)
                    this_fiber::yield();
                promises[i].set_value(static_cast<int>(i));
            }
        };
        std::thread plain{provide, 0, random()};
        std::thread hub{[&, turns = random()] { coir::run([&] { provide(2, turns); }); }};
        int sum = 0;
        coir::run([&] {
            fiber provider{provide, std::size_t{4}, random()};
            fiber unlucky{[&] { wait_all(results); }};
            this_fiber::yield();
            unlucky.cancel();
            unlucky.join();
            while (!results.empty()) {
                const auto first = wait_any_for(std::chrono::microseconds{random() % 100}, results);
                if (first == results.end())
                    continue;
                sum += first->get();
                results.erase(first);
            }
        });
        plain.join();
        hub.join();
        CHECK(sum == 15);
    }
}

TEST_SUITE_END();
