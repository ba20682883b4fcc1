// SPDX-License-Identifier: BSL-1.0
// A binary of its own: it puts a malloc that counts in front of libc's. operator new comes by there as well.
#include <doctest/doctest.h>

#include <coir/auto_reset_event.hpp>
#include <coir/barrier.hpp>
#include <coir/cancel_scope.hpp>
#include <coir/channel.hpp>
#include <coir/condition_variable.hpp>
#include <coir/condition_variable_any.hpp>
#include <coir/context_value.hpp>
#include <coir/coroutine.hpp>
#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/generator.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/latch.hpp>
#include <coir/mutex.hpp>
#include <coir/once.hpp>
#include <coir/priority_channel.hpp>
#include <coir/promise.hpp>
#include <coir/select.hpp>
#include <coir/semaphore.hpp>
#include <coir/shared_mutex.hpp>
#include <coir/testing.hpp>
#include <coir/use_fiber.hpp>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

using namespace coir;
using namespace std::chrono_literals;

namespace {
std::atomic<long> allocations{0};
}

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);

void* malloc(std::size_t size)
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_malloc(size);
}

void* calloc(std::size_t count, std::size_t size)
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_calloc(count, size);
}

void* realloc(void* old, std::size_t size)
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_realloc(old, size);
}
}

namespace {

/// How often the process allocates while `function` runs for the second time.
long allocations_of(auto&& function)
{
    function();
    const long before = allocations.load();
    function();
    return allocations.load() - before;
}

} // namespace

TEST_SUITE_BEGIN("allocation");

TEST_CASE("the counter counts") {
    CHECK(allocations_of([] {
              void* volatile memory = std::malloc(10);
              std::free(memory);
              delete new std::atomic<int>;
          }) >= 1);
}

TEST_CASE("yielding allocates nothing") {
    testing::run([] {
        bool done = false;
        fiber other{[&] {
            while (!done)
                this_fiber::yield();
        }};
        CHECK(allocations_of([] {
                  for (int i = 0; i < 1000; ++i)
                      this_fiber::yield();
              }) == 0);
        done = true;
    });
}

TEST_CASE("parking and waking allocate nothing") {
    testing::run([] {
        binary_semaphore ping{0};
        binary_semaphore pong{0};
        fiber other{[&] {
            for (;;) {
                ping.acquire();
                pong.release();
            }
        }};
        CHECK(allocations_of([&] {
                  for (int i = 0; i < 1000; ++i) {
                      ping.release();
                      pong.acquire();
                  }
              }) == 0);
        other.cancel();
    });
}

TEST_CASE("sleeping, waiting with a deadline and timeouts allocate nothing") {
    testing::run([] {
        event never_set;
        CHECK(allocations_of([&] {
                  for (int i = 0; i < 100; ++i) {
                      timeout limit{1h};
                      this_fiber::sleep_for(1s);
                      never_set.wait_for(1s);
                  }
              }) == 0);
    });
}

TEST_CASE("mutexes and conditions allocate nothing, contended or not") {
    testing::run([] {
        mutex door;
        condition_variable changed;
        bool mine = true;
        auto play = [&](bool me, int times) {
            for (int i = 0; i < times; ++i) {
                std::unique_lock lock{door};
                changed.wait(lock, [&] { return mine == me; });
                mine = !me;
                changed.notify_one();
            }
        };
        fiber other{play, false, 200};
        CHECK(allocations_of([&] { std::scoped_lock lock{door}; }) == 0);
        CHECK(allocations_of([&] { play(true, 100); }) == 0);
        other.join();
    });
}

TEST_CASE("the other locks allocate nothing, contended or not, with a stop_token or without") {
    testing::run([] {
        shared_timed_mutex door;
        condition_variable_any changed;
        barrier step{2};
        auto_reset_event ping;
        std::stop_source source;
        bool mine = true;
        auto play = [&](bool me, int times) {
            for (int i = 0; i < times; ++i) {
                {
                    std::unique_lock lock{door};
                    changed.wait(lock, source.get_token(), [&] { return mine == me; });
                    mine = !me;
                    changed.notify_one();
                }
                {
                    std::shared_lock lock{door, 1h};
                    this_fiber::yield();
                }
                step.arrive_and_wait();
                me ? ping.set() : ping.wait();
                latch open{1};
                open.arrive_and_wait();
                once_flag flag;
                call_once(flag, [] {});
            }
        };
        fiber other{play, false, 200};
        CHECK(allocations_of([&] { play(true, 100); }) == 0);
        other.join();
    });
}

TEST_CASE("sending and receiving allocate nothing, buffered or handed over") {
    testing::run([] {
        channel<int> buffered{16};
        CHECK(allocations_of([&] {
                  for (int i = 0; i < 100; ++i) {
                      buffered.send(i);
                      buffered.receive();
                  }
              }) == 0);

        channel<int> hand_over;
        fiber sender{[&] {
            for (int i = 0; i < 200; ++i)
                hand_over.send(i);
        }};
        CHECK(allocations_of([&] {
                  for (int i = 0; i < 100; ++i)
                      hand_over.receive();
              }) == 0);
    });
}

TEST_CASE("a channel that may grow allocates nothing once it has the room") {
    testing::run([] {
        channel<int> numbers{unbounded};
        priority_channel<int> sorted;
        CHECK(allocations_of([&] {
                  for (int i = 0; i < 100; ++i) {
                      numbers.send(i);
                      sorted.send(i);
                  }
                  for (int i = 0; i < 100; ++i) {
                      numbers.receive();
                      sorted.receive();
                  }
              }) == 0);
    });
}

TEST_CASE("selecting allocates nothing, whether it has to wait or not") {
    testing::run([] {
        channel<int> there;
        channel<int> back{1};
        event never_set;
        fiber other{[&] {
            for (const int value : there)
                select(on_send(back, int{value}, [] {}), on_set(never_set, [] {}));
        }};
        int sum = 0;
        auto add = [&](std::optional<int> value) { sum += *value; };
        CHECK(allocations_of([&] {
                  for (int i = 0; i < 100; ++i) {
                      select(on_send(there, int{i}, [] {}), on_receive(back, add));
                      select(on_receive(back, add), on_timeout(1h, [] {}), on_set(never_set, [] {}));
                  }
              }) == 0);
        CHECK(sum > 0);

        std::vector<receive_case<int>> cases;
        cases.emplace_back(back);
        cases.emplace_back(there);
        CHECK(allocations_of([&] {
                  CHECK(try_select(cases) == cases.end());
                  CHECK(select_for(1s, cases) == cases.end());
              }) == 0);
        there.close();
    });
}

TEST_CASE("waiting for a future allocates nothing") {
    testing::run([] {
        binary_semaphore ask{0};
        std::optional<promise<int>> answer;
        fiber thinker{[&] {
            for (;;) {
                ask.acquire();
                answer->set_value(1);
            }
        }};
        for (int round = 0; round < 2; ++round) {
            answer.emplace();
            auto result = answer->get_future();
            const long before = allocations.load();
            ask.release();
            const int value = result.get();
            const long after = allocations.load();
            CHECK(value == 1);
            if (round == 1)
                CHECK(after == before);
        }
        thinker.cancel();
    });
}

TEST_CASE("starting a fiber and joining it allocates nothing once there are stacks") {
    testing::run([] {
        CHECK(allocations_of([] {
                  for (int i = 0; i < 100; ++i) {
                      fiber quick{{.name = "quick"}, [] {}};
                      quick.join();
                  }
                  fiber_group group;
                  for (int i = 0; i < 100; ++i)
                      group.spawn([] { this_fiber::yield(); });
                  group.join();
              }) == 0);
    });
}

TEST_CASE("waking a fiber from another thread allocates nothing") {
    coir::run([] {
        binary_semaphore ping{0};
        binary_semaphore pong{0};
        std::thread other{[&] {
            for (int i = 0; i < 400; ++i) {
                ping.acquire();
                pong.release();
            }
        }};
        CHECK(allocations_of([&] {
                  for (int i = 0; i < 200; ++i) {
                      ping.release();
                      pong.acquire();
                  }
              }) == 0);
        other.join();
    });
}

TEST_CASE("waiting with a deadline on the real driver allocates nothing") {
    coir::run([] {
        CHECK(allocations_of([] {
                  for (int i = 0; i < 20; ++i)
                      this_fiber::sleep_for(10us);
              }) == 0);
    });
}

TEST_CASE("passing values between coroutines allocates nothing, and neither does making one") {
    testing::run([] {
        coroutine<int(int)> other{[](auto& self, int value) -> int {
            for (;;)
                value = self.yield(value);
        }};
        CHECK(allocations_of([&] {
                  for (int i = 0; i < 100; ++i)
                      other.resume(i);
              }) == 0);
        CHECK(allocations_of([] {
                  int sum = 0;
                  for (int i : generator<int>{[](auto& yield) {
                           for (int k = 0; k < 10; ++k)
                               yield(k);
                       }})
                      sum += i;
                  CHECK(sum == 45);
              }) == 0);
    });
}

TEST_CASE("a fiber inherits bound values without allocating") {
    static context_value<int> number;
    testing::run([] {
        const context_value<int>::binding bound{number, 1};
        CHECK(allocations_of([] {
                  fiber child{[] { CHECK(*number == 1); }};
                  child.join();
              }) == 0);
    });
}

TEST_CASE("a cancel_scope allocates nothing") {
    testing::run([] {
        cancel_scope scope;
        CHECK(allocations_of([&] { CHECK(scope.run([] { this_fiber::yield(); })); }) == 0);
    });
}

TEST_CASE("awaiting Asio's timers, sockets and posts allocates nothing") {
    namespace asio = boost::asio;
    coir::run([] {
        asio::steady_timer timer{this_hub_io_context()};
        asio::local::stream_protocol::socket ours{this_hub_io_context()};
        asio::local::stream_protocol::socket theirs{this_hub_io_context()};
        asio::local::connect_pair(ours, theirs);
        boost::system::error_code error;
        char byte = 'x';
        long before = 0;
        for (int i = 0; i < 10; ++i) {
            if (i == 5)
                before = allocations.load();
            timer.expires_after(1us);
            timer.async_wait(use_fiber);
            timer.async_wait(asio::as_tuple(use_fiber));
            fiber reader{[&] { ours.async_read_some(asio::buffer(&byte, 1), use_fiber); }};
            this_fiber::yield();
            theirs.async_write_some(asio::buffer(&byte, 1), use_fiber[error]);
            reader.join();
            asio::post(this_hub_io_context(), use_fiber);
        }
        CHECK(allocations.load() == before);
    });
}

TEST_CASE("awaiting an operation that runs on another thread allocates nothing, and neither does cancelling one") {
    namespace asio = boost::asio;
    coir::run([] {
        asio::io_context elsewhere;
        auto work = asio::make_work_guard(elsewhere);
        std::thread other{[&] { elsewhere.run(); }};
        asio::steady_timer timer{elsewhere};
        long before = 0;
        for (int i = 0; i < 10; ++i) {
            if (i == 5)
                before = allocations.load();
            timer.expires_after(10us);
            timer.async_wait(use_fiber);
            asio::post(elsewhere, use_fiber);
            timer.expires_after(1h);
            cancel_scope scope;
            fiber canceller{[&] { scope.cancel(); }};
            CHECK(!scope.run([&] { timer.async_wait(use_fiber); }));
        }
        CHECK(allocations.load() - before <= 5); // what is thrown
        work.reset();
        other.join();
    });
}

TEST_SUITE_END();
