// SPDX-License-Identifier: BSL-1.0
// fork in a fiber: the child has the fiber that called it, and goes on with coir as if it had always been alone.
#include "child.hpp"
#include "sanitized.hpp"

#include <doctest/doctest.h>

#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/latch.hpp>
#include <coir/mutex.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

using namespace coir;
using support::status_of;
using namespace std::chrono_literals;

namespace {

/// Whether sleeping, starting fibers, channels and helper threads work.
bool coir_works()
{
    this_fiber::sleep_for(1ms);
    channel<int> numbers;
    fiber sender{[&] {
        this_fiber::sleep_for(1ms);
        numbers.send(3);
    }};
    const bool received = numbers.receive() == 3;
    sender.join();
    return received && offload([] { return 4; }) == 4 && fibers().size() == 1;
}

} // namespace

TEST_SUITE_BEGIN("fork");

TEST_CASE("a child sleeps, starts fibers and waits, and the parent does too") {
    coir::run([] {
        for (int round = 0; round < 5; ++round) {
            CHECK(status_of([] { return coir_works() ? 0 : 1; }) == 0);
            CHECK(coir_works());
        }
    });
}

TEST_CASE("the other fibers do not run in the child, and have ended for who joins them") {
    coir::run([] {
        int steps = 0;
        fiber ticker{[&] {
            for (;;) {
                ++steps;
                this_fiber::sleep_for(1us);
            }
        }};
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([] { this_fiber::sleep_for(24h); });
        this_fiber::sleep_for(1ms);

        CHECK(status_of([&] {
                  const int before = steps;
                  this_fiber::sleep_for(2ms);
                  if (steps != before)
                      return 1;
                  ticker.join();
                  group.join();
                  group.spawn([&] { ++steps; });
                  group.join();
                  return steps == before + 1 ? 0 : 2;
              }) == 0);

        const int before = steps;
        while (steps == before) // it lives on here
            this_fiber::sleep_for(1ms);
        ticker.cancel();
        group.cancel();
        ticker.join();
        group.join();
    });
}

TEST_CASE("fibers that no hub has taken in yet do not start in the child, and have ended for who joins them") {
    coir::run({.hubs = 2}, [] {
        std::atomic<bool> busy{false}, done{false};
        fiber other_hub{{.on = placement::any_hub}, [&] { // it takes no fiber meanwhile
                            busy.store(true, std::memory_order_release);
                            while (!done.load(std::memory_order_acquire))
                                std::this_thread::yield();
                        }};
        while (!busy.load(std::memory_order_acquire))
            std::this_thread::yield(); // so that this hub does not take it either

        std::atomic<int> started{0};
        fiber_group group;
        for (int i = 0; i < 10; ++i)
            group.spawn({.on = placement::any_hub}, [&] { ++started; });
        fiber alone{{.on = placement::any_hub}, [&] { ++started; }};
        CHECK(status_of([&] {
                  this_fiber::sleep_for(1ms);
                  if (started != 0)
                      return 1;
                  alone.join();
                  group.join();
                  return started == 0 && coir_works() ? 0 : 2;
              }) == 0);
        alone.join();
        group.join();
        CHECK(started == 11);
        done.store(true, std::memory_order_release);
        other_hub.join();
    });
}

TEST_CASE("a lock that the others wait for goes to who runs in the child") {
    coir::run([] {
        mutex guard;
        std::unique_lock held{guard};
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&] { const std::scoped_lock later{guard}; });
        this_fiber::yield();
        CHECK(status_of([&] {
                  held.unlock();
                  fiber next{[&] { const std::scoped_lock now{guard}; }};
                  next.join();
                  return guard.try_lock() ? 0 : 1;
              }) == 0);
        held.unlock();
        group.join();
    });
}

TEST_CASE("the parent's timers are not the child's") {
    coir::run([] {
        event woken;
        fiber sleeper{[&] {
            this_fiber::sleep_for(50ms); // armed in the kernel before the fork, and due after it
            woken.set();
        }};
        this_fiber::sleep_for(1ms);
        CHECK(status_of([] {
                  this_fiber::sleep_for(1ms);
                  return 0;
              }) == 0);
        woken.wait();
        sleeper.join();
    });
}

TEST_CASE("a child may fork in turn") {
    coir::run([] {
        CHECK(status_of([] {
                  this_fiber::sleep_for(1ms);
                  const pid_t grandchild = ::fork();
                  if (grandchild == 0)
                      ::_exit(coir_works() ? 7 : 1);
                  int status = -1;
                  ::waitpid(grandchild, &status, 0);
                  return WIFEXITED(status) && coir_works() ? WEXITSTATUS(status) : 1;
              }) == 7);
    });
}

TEST_CASE("a child that a fiber of another hub forks keeps that hub") {
    coir::run({.hubs = 3}, [] {
        mutex quiet;
        fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn({.on = placement::any_hub}, [&] {
                // See support::wait_for_other_threads: there, one fork after the other.
                std::unique_lock alone{quiet, std::defer_lock};
                if (support::sanitized)
                    alone.lock();
                CHECK(status_of([] {
                          fiber any{{.on = placement::any_hub}, [] {}};
                          any.join();
                          return coir_works() && this_hub().index() == 0 ? 0 : 1;
                      }) == 0);
            });
        group.join();
    });
}

TEST_CASE("when the forking fiber ends, the child ends as when a thread that forked does") {
    const auto child_of_fiber = [](const runtime_options& options, placement on) {
        pid_t process = -1;
        coir::run(options, [&] {
            const pid_t parent = ::getpid();
            fiber forking{{.on = on}, [&] {
                              if (const auto result = ::fork(); ::getpid() == parent)
                                  process = result;
                              this_fiber::sleep_for(1ms);
                          }};
            forking.join();
            if (::getpid() != parent)
                ::_exit(9); // main must not go on in the child
        });
        int status = -1;
        REQUIRE(::waitpid(process, &status, 0) == process);
        REQUIRE(WIFEXITED(status));
        return WEXITSTATUS(status);
    };
    CHECK(child_of_fiber({.hubs = 1}, placement::this_hub) == 0);
    CHECK(child_of_fiber({.hubs = 2}, placement::any_hub) == 0);
}

TEST_CASE("when main itself forks, run returns in the child") {
    CHECK(status_of([] {
              int inner = coir::run([] {
                  const pid_t process = ::fork();
                  this_fiber::sleep_for(1ms);
                  if (process == 0)
                      return 5;
                  int status = 0;
                  ::waitpid(process, &status, 0);
                  return WEXITSTATUS(status) + 1;
              });
              return inner;
          }) == 6);
}

TEST_CASE("forks and posts from other threads do not meet halfway") {
    coir::run([] {
        std::atomic<bool> done{false};
        counting_semaphore<> posts{0};
        const auto home = this_hub();
        std::thread poster{[&] {
            while (!done.load(std::memory_order_acquire)) {
                home.post([&] { posts.release(); });
                posts.acquire();
            }
        }};
        for (int round = 0; round < 100; ++round) {
            CHECK(status_of([] {
                      this_fiber::sleep_for(1us);
                      fiber{[] {}}.join();
                      return 0;
                  }) == 0);
            this_fiber::yield();
        }
        done.store(true, std::memory_order_release);
        offload([&] { poster.join(); });
    });
}

TEST_CASE("what only another hub has used so far can be used in a child, where that hub is not") {
    coir::runtime hubs{{.hubs = 2}};
    coir::run_in(hubs, [&] {
        channel<int> numbers{1};
        mutex door;
        latch used{1};
        hubs.hub(1).post([&] {
            std::scoped_lock held{door};
            numbers.send(1);
            used.count_down();
        });
        used.wait();
        CHECK(status_of([&] {
                  std::scoped_lock held{door};
                  return numbers.receive() == 1 ? 0 : 1;
              }) == 0);
    });
}
