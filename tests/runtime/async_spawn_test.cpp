// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/async_spawn.hpp>
#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>
#include <coir/use_fiber.hpp>

#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

namespace asio = boost::asio;
using namespace coir;
using namespace std::chrono_literals;
using boost::system::error_code;

namespace {

asio::awaitable<int> answer_later(int value)
{
    asio::steady_timer timer{co_await asio::this_coro::executor, 1ms};
    co_await timer.async_wait(asio::use_awaitable);
    co_return value;
}

asio::awaitable<void> wait_for_ever(bool& ended)
{
    struct mark {
        bool& ended;
        ~mark() { ended = true; }
    } const at_the_end{ended};
    asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
    co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<int> failing()
{
    co_await answer_later(1);
    throw std::out_of_range{"far"};
}

} // namespace

TEST_SUITE_BEGIN("async_spawn");

// ---- a fiber awaits a coroutine -------------------------------------------------------------------------------------

TEST_CASE("a fiber awaits a C++20 coroutine: its value, its exception") {
    coir::run([] {
        CHECK(asio::co_spawn(this_hub_io_context(), answer_later(7), use_fiber) == 7);
        CHECK_THROWS_WITH_AS(asio::co_spawn(this_hub_io_context(), failing(), use_fiber), "far", std::out_of_range);
        auto [failure, value] = asio::co_spawn(this_hub_io_context(), answer_later(8), asio::as_tuple(use_fiber));
        CHECK(!failure);
        CHECK(value == 8);
    });
}

TEST_CASE("a fiber awaits a coroutine on other threads") {
    asio::thread_pool pool{2};
    coir::run([&] {
        for (int i = 0; i < 50; ++i)
            CHECK(asio::co_spawn(pool, answer_later(i), use_fiber) == i);
    });
    pool.join();
}

TEST_CASE("cancelling the fiber cancels the coroutine, and waits for its end") {
    asio::thread_pool pool{2};
    coir::run([&] {
        bool ended = false;
        CHECK(!try_for(1ms, [&] { asio::co_spawn(this_hub_io_context(), wait_for_ever(ended), use_fiber); }));
        CHECK(ended);
        ended = false;
        CHECK(!try_for(1ms, [&] { asio::co_spawn(asio::make_strand(pool), wait_for_ever(ended), use_fiber); }));
        CHECK(ended);
    });
    pool.join();
}

TEST_CASE("a coroutine on a hub's executor may call what waits") {
    coir::run([] {
        const auto coroutine = []() -> asio::awaitable<int> {
            this_fiber::sleep_for(1ms);
            const int value = co_await answer_later(3);
            CHECK(this_fiber::active());
            this_fiber::sleep_for(1ms);
            co_return value;
        };
        CHECK(asio::co_spawn(this_hub_executor(), coroutine, use_fiber) == 3);
    });
}

// ---- a coroutine awaits a fiber -------------------------------------------------------------------------------------

TEST_CASE("a C++20 coroutine awaits a fiber: its value, its exception") {
    coir::run([] {
        const auto coroutine = []() -> asio::awaitable<void> {
            auto here = this_hub_executor();
            CHECK(!this_fiber::active());
            const auto size = co_await async_spawn(
                here,
                [] {
                    this_fiber::sleep_for(1ms);
                    return std::string{"seven"};
                },
                asio::use_awaitable);
            CHECK(size == "seven");
            CHECK(!this_fiber::active()); // back on its own executor
            bool thrown = false;
            try {
                co_await async_spawn(
                    here, [] { throw std::out_of_range{"far"}; }, asio::use_awaitable);
            } catch (const std::out_of_range&) {
                thrown = true;
            }
            CHECK(thrown);
        };
        asio::co_spawn(this_hub_io_context(), coroutine, use_fiber);
    });
}

TEST_CASE("any token will do: a callback, a future, another fiber's") {
    runtime background{{.hubs = 2}};
    background.start();
    const executor there{background.hub(1)};
    auto sum = async_spawn(
        there, {.name = "sum"}, [] { return 1 + 2; }, asio::use_future);
    CHECK(sum.get() == 3);
    auto nothing = async_spawn(
        there, [] { this_fiber::sleep_for(1ms); }, asio::use_future);
    nothing.get();

    std::promise<int> called;
    async_spawn(
        there, [] { return 4; }, [&](const std::exception_ptr&, int value) { called.set_value(value); });
    CHECK(called.get_future().get() == 4);

    coir::run([&] {
        CHECK(async_spawn(
                  there, [] { return this_hub().index(); }, use_fiber) == 1);
        CHECK_THROWS_AS(async_spawn(
                            there, [] { throw std::out_of_range{""}; }, use_fiber),
                        std::out_of_range);
    });
    CHECK(background.shutdown(10s).complete());
}

TEST_CASE("a cancellation by the slot cancels the fiber's waits") {
    coir::run([] {
        using namespace asio::experimental::awaitable_operators;
        bool cut_off = false;
        const auto coroutine = [&]() -> asio::awaitable<void> {
            asio::steady_timer limit{co_await asio::this_coro::executor, 2ms};
            const auto winner =
                co_await (limit.async_wait(asio::use_awaitable) || async_spawn(
                                                                       this_hub_executor(),
                                                                       [&] {
                                                                           try {
                                                                               this_fiber::sleep_for(1h);
                                                                           } catch (const cancelled&) {
                                                                               cut_off = true;
                                                                               throw;
                                                                           }
                                                                       },
                                                                       asio::use_awaitable));
            CHECK(winner.index() == 0);
        };
        asio::co_spawn(this_hub_io_context(), coroutine, use_fiber);
        CHECK(cut_off);
    });
}

TEST_CASE("cancellation goes from fiber to fiber, between hubs") {
    runtime background{{.hubs = 1}};
    background.start();
    const executor there{background.hub(0)};
    coir::run([&] {
        for (int i = 0; i < 20; ++i) {
            bool ended = false;
            CHECK(!try_for(1ms, [&] {
                async_spawn(
                    there,
                    [&] {
                        try {
                            this_fiber::sleep_for(1h);
                        } catch (const cancelled&) {
                            ended = true;
                            throw;
                        }
                    },
                    use_fiber);
            }));
            CHECK(ended);
        }
    });
    CHECK(background.shutdown(10s).complete());
}

TEST_CASE("a cancelled function completes with operation_aborted") {
    std::exception_ptr failure;
    coir::run([&] {
        async_spawn(
            this_hub_executor(), [] { this_fiber::sleep_for(1h); },
            [&](std::exception_ptr what) { failure = std::move(what); });
        this_fiber::yield();
    }); // main has ended: what is left is cancelled
    REQUIRE(failure);
    try {
        std::rethrow_exception(failure);
    } catch (const boost::system::system_error& error) {
        CHECK(error.code() == asio::error::operation_aborted);
    }
}

TEST_CASE("cancelled at each wait in turn, fibers that await fibers all end") {
    const auto waits = testing::cancel_each_wait(1, [] {
        int begun = 0;
        int ended = 0;
        {
            fiber outer{[&] {
                for (int i = 0; i < 2; ++i)
                    async_spawn(
                        this_hub_executor(),
                        [&] {
                            struct mark {
                                int& ended;
                                ~mark() { ++ended; }
                            } const at_the_end{ended};
                            ++begun;
                            this_fiber::sleep_for(1s);
                        },
                        asio::as_tuple(use_fiber));
            }};
            outer.join();
        }
        CHECK(begun == ended);
    });
    CHECK(waits >= 4);
}

TEST_SUITE_END();
