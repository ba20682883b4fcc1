// SPDX-License-Identifier: BSL-1.0
// Several hubs: who starts where, what crosses between them, and how they end together. These tests run on real threads
// with the Asio driver; what they wait for is an event and never the time.
#include <doctest/doctest.h>

#include "sanitized.hpp"
#include "seed.hpp"

#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/hub.hpp>
#include <coir/mutex.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>
#include <coir/testing.hpp>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

constexpr fiber_options anywhere{.on = placement::any_hub};

/// Keeps its thread, as a computation does, until `done`.
void compute_until(const std::atomic<bool>& done)
{
    while (!done.load(std::memory_order_acquire))
        std::this_thread::yield();
}

} // namespace

TEST_SUITE_BEGIN("hubs");

TEST_CASE("a runtime has the number of hubs that it is asked for, by default one for each processor") {
    CHECK(runtime{{.hubs = 3}}.hub_count() == 3);
    ::setenv("COIR_HUBS", "5", 1);
    CHECK(default_hub_count() == 5);
    CHECK(runtime{}.hub_count() == 5);
    ::setenv("COIR_HUBS", "none", 1);
    CHECK(default_hub_count() >= 1);
    ::unsetenv("COIR_HUBS");
    CHECK(runtime{}.hub_count() == default_hub_count());
    CHECK(coir::run([] { return this_hub().index(); }) == 0);
}

TEST_CASE("main runs on the calling thread, and all hubs end with it") {
    const auto caller = std::this_thread::get_id();
    std::atomic<int> unwound{0};
    const int result = coir::run({.hubs = 3}, [&] {
        CHECK(std::this_thread::get_id() == caller);
        CHECK(this_hub().index() == 0);
        counting_semaphore<> waiting{0};
        for (int i = 0; i < 6; ++i)
            fiber{anywhere,
                  [&] {
                      struct note {
                          std::atomic<int>& count;
                          ~note() { ++count; }
                      } const at_end{unwound};
                      waiting.release();
                      this_fiber::sleep_for(24h);
                  }}
                .detach();
        for (int i = 0; i < 6; ++i)
            waiting.acquire();
        return 7;
    });
    CHECK(result == 7);
    CHECK(unwound == 6);
    CHECK_THROWS_WITH_AS(coir::run({.hubs = 2}, [] { throw std::runtime_error{"main"}; }), "main", std::runtime_error);
}

TEST_CASE("fibers that keep their threads are spread over all hubs") {
    constexpr std::size_t hubs = 4;
    runtime fibers{{.hubs = hubs}};
    std::mutex guard;
    std::set<std::size_t> seen;
    std::atomic<bool> all{false};
    for (std::size_t i = 0; i < hubs; ++i)
        fibers.spawn([&] {
            {
                const std::lock_guard held{guard};
                seen.insert(this_hub().index());
                if (seen.size() == hubs)
                    all.store(true, std::memory_order_release);
            }
            compute_until(all); // for ever, if two of them are on one hub
        });
    fibers.run();
    CHECK(seen.size() == hubs);
}

TEST_CASE("an idle hub takes what a busy one has not started") {
    coir::run({.hubs = 2}, [] {
        std::atomic<bool> done{false};
        std::size_t where = 0;
        fiber elsewhere{anywhere, [&] {
                            where = this_hub().index();
                            done.store(true, std::memory_order_release);
                        }};
        compute_until(done); // this hub cannot start it
        elsewhere.join();
        CHECK(where == 1);
    });
}

TEST_CASE("a fiber that has started stays on its hub") {
    std::atomic<int> moved{0};
    coir::run({.hubs = 3}, [&] {
        channel<int> numbers{4};
        fiber_group group;
        for (int i = 0; i < 50; ++i)
            group.spawn(anywhere, [&, i] {
                const auto home = std::this_thread::get_id();
                for (int round = 0; round < 20; ++round) {
                    if (i % 2) // who did both might be the last, and wait for a value of its own
                        numbers.send(i);
                    else
                        numbers.receive();
                    this_fiber::yield();
                    moved += std::this_thread::get_id() != home;
                }
            });
        group.join();
    });
    CHECK(moved == 0);
}

TEST_CASE("a fiber and the fibers it starts share a hub unless they say otherwise") {
    runtime fibers{{.hubs = 3}};
    std::atomic<int> strayed{0};
    for (int i = 0; i < 30; ++i)
        fibers.spawn([&] {
            const auto home = this_hub();
            int unguarded = 0;
            fiber_group group;
            for (int child = 0; child < 10; ++child)
                group.spawn([&] {
                    strayed += this_hub() != home;
                    this_fiber::yield();
                    ++unguarded;
                });
            fiber own{[&] { strayed += this_hub() != home; }};
            group.join();
            own.join();
            strayed += unguarded != 10;
        });
    fibers.run();
    CHECK(strayed == 0);
}

TEST_CASE("a hub runs what is posted to it, from any thread") {
    runtime fibers{{.hubs = 3}};
    fibers.start();
    std::atomic<int> elsewhere{0};
    counting_semaphore<> ran{0};
    const auto post_to_all = [&] {
        for (std::size_t i = 0; i < fibers.hub_count(); ++i)
            fibers.hub(i).post(
                {.name = "posted"},
                [&, i](int argument) {
                    elsewhere += this_hub().index() != i || argument != 5 || this_fiber::get_name() != "posted";
                    this_fiber::yield();
                    ran.release();
                },
                5);
    };
    std::thread other{post_to_all};
    post_to_all();
    fibers.spawn(post_to_all);
    other.join();
    for (int i = 0; i < 9; ++i)
        ran.acquire();
    CHECK(elsewhere == 0);
    CHECK(fibers.shutdown(24h).complete());
    CHECK_THROWS_AS(this_hub(), std::logic_error);
}

TEST_CASE("what is posted to a hub before it runs is run by it") {
    runtime fibers{{.hubs = 2}};
    std::size_t where[2] = {9, 9};
    for (std::size_t i = 0; i < 2; ++i)
        fibers.hub(i).post([&, i] { where[i] = this_hub().index(); });
    fibers.run();
    CHECK(where[0] == 0);
    CHECK(where[1] == 1);
}

TEST_CASE("fibers are joined by another thread while they end") {
    constexpr int fibers = 3000;
    channel<fiber> started{8};
    int joined = 0;
    int failed = 0;
    std::thread joiner{[&] {
        while (auto each = started.receive()) {
            try {
                each->join();
                ++joined;
            } catch (const std::runtime_error&) {
                ++failed;
            }
        }
    }};
    coir::run([&] {
        for (int i = 0; i < fibers; ++i)
            started.send(fiber{[i] {
                for (int turns = i % 3; turns > 0; --turns)
                    this_fiber::yield();
                if (i % 10 == 0)
                    throw std::runtime_error{"tenth"};
            }});
        started.close();
    });
    joiner.join();
    CHECK(failed == fibers / 10);
    CHECK(joined == fibers - failed);
}

TEST_CASE("a fiber is joined, and fails, across hubs") {
    coir::run({.hubs = 2}, [] {
        std::atomic<bool> started{false};
        fiber other{anywhere, [&] {
                        started.store(true, std::memory_order_release);
                        throw std::runtime_error{"over there"};
                    }};
        compute_until(started);
        CHECK_THROWS_WITH(other.join(), "over there");
    });
}

TEST_CASE("a fiber is cancelled across hubs, whether it has started or not") {
    coir::run({.hubs = 2}, [] {
        for (int round = 0; round < 500; ++round) {
            bool slept = false;
            fiber sleeper{anywhere, [&] {
                              this_fiber::sleep_for(24h);
                              slept = true;
                          }};
            if (round % 3 == 0)
                this_fiber::yield();
            sleeper.cancel(); // it is in a queue, on its way to a hub, running or asleep
            sleeper.join();
            CHECK(!slept);
        }
    });
}

TEST_CASE("the first failure in a group cancels members on all hubs") {
    coir::run({.hubs = 3}, [] {
        for (int round = 0; round < 50; ++round) {
            counting_semaphore<> waiting{0};
            std::atomic<int> finished{0};
            fiber_group group;
            for (int i = 0; i < 20; ++i)
                group.spawn(anywhere, [&] {
                    waiting.release();
                    this_fiber::sleep_for(24h);
                    ++finished;
                });
            group.spawn(anywhere, [&] {
                for (int i = 0; i < 10; ++i) // the others start while the group is being cancelled
                    waiting.acquire();
                throw std::runtime_error{"first"};
            });
            CHECK_THROWS_WITH(group.join(), "first");
            CHECK(finished == 0);
            CHECK(group.size() == 0);
        }
    });
}

TEST_CASE("a group is cancelled from a plain thread while fibers come and go") {
    coir::run({.hubs = 2}, [] {
        for (int round = 0; round < 20; ++round) {
            fiber_group group;
            std::atomic<bool> begun{false};
            std::thread canceller{[&] {
                compute_until(begun);
                group.cancel();
            }};
            for (int i = 0; i < 100; ++i)
                group.spawn(anywhere, [&, i] {
                    if (i % 2)
                        this_fiber::sleep_for(24h);
                    begun.store(true, std::memory_order_release);
                });
            group.join();
            canceller.join();
        }
    });
}

TEST_CASE("hubs that run in the background go on while there are no fibers") {
    runtime fibers{{.hubs = 2}};
    fibers.start();
    CHECK_THROWS_AS(fibers.start(), std::logic_error);
    CHECK_THROWS_AS(fibers.run(), std::logic_error);
    for (int round = 0; round < 100; ++round) {
        event ran;
        fibers.spawn([&] { ran.set(); });
        ran.wait();
    }
    CHECK(fibers.shutdown(24h).complete());
}

TEST_CASE("shutdown refuses, cancels and waits") {
    runtime fibers{{.hubs = 2}};
    fibers.start();
    std::atomic<int> cleaned_up{0};
    counting_semaphore<> waiting{0};
    for (int i = 0; i < 10; ++i)
        fibers.spawn([&] {
            try {
                waiting.release();
                this_fiber::sleep_for(24h);
            } catch (const cancelled&) {
                const shield clean_up;
                fiber helper{[&] { ++cleaned_up; }}; // fibers may still start fibers
                helper.join();
                throw;
            }
        });
    for (int i = 0; i < 10; ++i)
        waiting.acquire();
    CHECK(fibers.shutdown(24h).complete());
    CHECK(cleaned_up == 10);

    const auto refused = [](auto&& start) {
        try {
            start();
        } catch (const std::system_error& error) {
            return error.code() == std::errc::operation_canceled;
        }
        return false;
    };
    CHECK(refused([&] { fibers.spawn([] {}); }));
    CHECK(refused([&] { fibers.hub(0).post([] {}); }));

    fibers.start(); // and it is as new
    event ran;
    fibers.spawn([&] {
        this_fiber::yield(); // not cancelled
        ran.set();
    });
    ran.wait();
}

TEST_CASE("shutdown says which fibers would not end, and which hubs do not answer") {
    runtime fibers{{.hubs = 2}};
    fibers.start();
    event release;
    event waits;
    std::atomic<bool> computes{false};
    std::atomic<bool> done{false};
    fibers.hub(0).post({.name = "stubborn"}, [&] {
        const shield all;
        waits.set();
        release.wait();
    });
    fibers.hub(1).post([&] {
        computes.store(true, std::memory_order_release);
        compute_until(done);
    });
    waits.wait();
    compute_until(computes);

    auto left = fibers.shutdown(0s);
    CHECK(!left.complete());
    CHECK(left.silent_hubs == 1);
    REQUIRE(left.fibers.size() == 1);
    CHECK(left.fibers[0].name == "stubborn");
    CHECK(left.fibers[0].hub == 0);
    CHECK(left.fibers[0].waiting_for.what == std::string{"event"});

    done.store(true, std::memory_order_release);
    release.set();
    CHECK(fibers.shutdown(24h).complete());
}

TEST_CASE("a fiber cannot shut its own runtime down, but another's") {
    runtime workers{{.hubs = 2}};
    workers.start();
    workers.spawn([] { this_fiber::sleep_for(24h); });
    event tried;
    workers.spawn([&] {
        CHECK_THROWS_AS(static_cast<void>(workers.shutdown(1s)), std::logic_error);
        tried.set();
    });
    coir::run([&] {
        tried.wait();
        CHECK(workers.shutdown(24h).complete());
    });
}

TEST_CASE("a runtime may be destroyed in a fiber of another, with fibers that were never run") {
    bool unwound = false;
    coir::run([&] {
        runtime inner{{.hubs = 2}};
        inner.spawn([&] {
            try {
                this_fiber::sleep_for(24h);
            } catch (const cancelled&) {
                unwound = true;
                throw;
            }
        });
    });
    CHECK(unwound);
}

TEST_CASE("a runtime in the background ends in order although the fiber that destroys it is cancelled") {
    bool unwound = false;
    coir::run([&] {
        fiber owner{[&] {
            runtime inner{{.hubs = 2}};
            inner.start();
            event waits;
            inner.spawn([&] {
                try {
                    waits.set();
                    this_fiber::sleep_for(24h);
                } catch (const cancelled&) {
                    const shield clean_up;
                    this_fiber::sleep_for(1ms);
                    unwound = true;
                    throw;
                }
            });
            waits.wait();
            this_fiber::sleep_for(24h);
        }};
        this_fiber::sleep_for(1ms);
        owner.cancel();
        owner.join();
    });
    CHECK(unwound);
}

TEST_CASE("a runtime is run again, and what ended the last run does not cancel the next") {
    runtime fibers{{.hubs = 3}};
    for (int round = 0; round < 50; ++round) {
        std::atomic<int> ran{0};
        CHECK(run_in(fibers, [&] {
                  fiber_group group;
                  for (int i = 0; i < 6; ++i)
                      group.spawn(anywhere, [&] {
                          this_fiber::yield();
                          ++ran;
                      });
                  group.join();
                  return 3;
              }) == 3);
        CHECK(ran == 6);
    }
}

TEST_CASE("a wake-up is never lost, whoever is about to fall asleep") {
    // Two hubs that do nothing but wake each other, and now and then sleep for as short as can be in between.
    constexpr int rounds = 20'000;
    runtime hubs{{.hubs = 2}};
    run_in(hubs, [&] {
        channel<int> there{1};
        channel<int> back{1};
        event ended;
        hubs.hub(1).post([&] {
            for (const int value : there)
                back.send(value);
            ended.set();
        });
        for (int i = 0; i < rounds; ++i) {
            there.send(i);
            CHECK(back.receive() == i);
            if (i % 64 == 0)
                this_fiber::sleep_for(std::chrono::microseconds{i % 3'000});
        }
        there.close();
        ended.wait();
    });
}

TEST_CASE("a million fibers are started on several hubs, and each runs once") {
    constexpr int total = support::sanitized ? 20'000 : 1'000'000;
    runtime fibers{{.hubs = 2}};
    std::atomic<int> ran{0};
    for (int parent = 0; parent < 4; ++parent)
        fibers.spawn([&] {
            for (int round = 0; round < 250; ++round) {
                fiber_group group;
                for (int i = 0; i < total / 1000; ++i)
                    group.spawn(i % 16 ? fiber_options{} : anywhere,
                                [&] { ran.fetch_add(1, std::memory_order_relaxed); });
                group.join();
            }
        });
    fibers.run();
    CHECK(ran == total);
}

// A random program: fibers on three hubs and a plain thread start others here and there, meet on a mutex, a semaphore
// and a channel, and cancel each other.
TEST_CASE("random fibers on several hubs: all end, nothing is lost and nothing happens twice") {
    const auto seed = support::seed();
    std::atomic<int> started{0};
    std::atomic<int> ended{0};
    std::atomic<int> received{0};
    std::atomic<int> sent{0};
    int guarded = 0;
    std::atomic<int> counted{0};

    coir::run({.hubs = 3}, [&] {
        mutex guard;
        counting_semaphore<> tokens{3};
        channel<int> numbers{2};

        const auto work = [&](auto& self, std::uint64_t own_seed, int depth) -> void {
            std::mt19937_64 random{own_seed};
            ++started;
            struct count_end {
                std::atomic<int>& count;
                ~count_end() { ++count; }
            } const at_end{ended};
            std::vector<fiber> children;
            try {
                for (int step = 0; step < 6; ++step) {
                    switch (random() % 7) {
                    case 0: {
                        const std::scoped_lock held{guard};
                        ++guarded;
                        ++counted;
                        if (random() % 2)
                            this_fiber::yield();
                        break;
                    }
                    case 1: {
                        tokens.acquire();
                        struct give_back {
                            counting_semaphore<>& to;
                            ~give_back() { to.release(); }
                        } const token{tokens};
                        this_fiber::yield();
                        break;
                    }
                    case 2:
                        if (numbers.send_for(1, 1ms))
                            ++sent;
                        break;
                    case 3:
                        if (numbers.receive_for(1ms))
                            ++received;
                        break;
                    case 4: this_fiber::yield(); break;
                    default:
                        if (depth < 4)
                            children.emplace_back(
                                fiber_options{.on = random() % 2 ? placement::any_hub : placement::this_hub},
                                [&self, child = random(), depth] { self(self, child, depth + 1); });
                        if (!children.empty() && random() % 4 == 0)
                            children[random() % children.size()].cancel();
                    }
                }
                for (auto& child : children)
                    child.join();
            } catch (const cancelled&) {
                for (auto& child : children)
                    child.cancel();
            }
        };
        fiber_group roots;
        std::mt19937_64 random{seed};
        for (int i = 0; i < 40; ++i)
            roots.spawn(anywhere, [&, own = random()] { work(work, own, 0); });
        roots.join();
        while (numbers.try_receive())
            ++received;
    });
    CHECK(started == ended);
    CHECK(sent == received);
    CHECK(guarded == counted);
}
