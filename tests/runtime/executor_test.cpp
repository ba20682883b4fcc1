// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/executor.hpp>
#include <coir/fiber.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>
#include <coir/testing.hpp>
#include <coir/use_fiber.hpp>

#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

namespace asio = boost::asio;
using namespace coir;
using namespace std::chrono_literals;

static_assert(asio::execution::is_executor<executor>::value);
static_assert(std::is_nothrow_copy_constructible_v<executor>);
static_assert(std::is_convertible_v<executor, asio::any_io_executor>);
static_assert(asio::can_require<executor, asio::execution::blocking_t::never_t>::value);
static_assert(asio::can_prefer<executor, asio::execution::outstanding_work_t::tracked_t>::value);

TEST_SUITE_BEGIN("executor");

TEST_CASE("what is posted runs in a fiber, and may wait") {
    testing::run([] {
        const auto start = clock::now();
        counting_semaphore<> done{0};
        for (int i = 0; i < 3; ++i)
            asio::post(this_hub_executor(), [&] {
                CHECK(this_fiber::active());
                this_fiber::sleep_for(1h);
                done.release();
            });
        for (int i = 0; i < 3; ++i)
            done.acquire();
        CHECK(clock::now() - start == 1h);
    });
}

TEST_CASE("dispatch calls at once in a fiber of the hub, and posts from elsewhere") {
    coir::run([] {
        const auto here = this_hub_executor();
        const auto self = this_fiber::get_id();
        fiber_id where;
        asio::dispatch(here, [&] { where = this_fiber::get_id(); });
        CHECK(where == self);
        event done;
        asio::post(this_hub_io_context(), [&] { // a handler is on the hub, but in no fiber
            asio::dispatch(here, [&] {
                CHECK(this_fiber::active());
                done.set();
            });
            CHECK(!done.is_set());
        });
        done.wait();
        bool ran = false;
        asio::dispatch(asio::require(here, asio::execution::blocking.never), [&] { ran = true; });
        CHECK(!ran);
        asio::defer(here, use_fiber);
        CHECK(ran);
    });
}

TEST_CASE("any thread may submit") {
    coir::run([] {
        const auto here = this_hub_executor();
        const auto thread = std::this_thread::get_id();
        int count = 0;
        event all;
        std::vector<std::thread> threads;
        for (int k = 0; k < 3; ++k)
            threads.emplace_back([&] {
                for (int i = 0; i < 100; ++i)
                    asio::post(here, [&] {
                        CHECK(std::this_thread::get_id() == thread);
                        this_fiber::yield();
                        if (++count == 300)
                            all.set();
                    });
            });
        all.wait();
        for (auto& each : threads)
            each.join();
    });
}

TEST_CASE("a function may be of a kind that can only be moved") {
    testing::run([] {
        event done;
        asio::post(this_hub_executor(), [&, value = std::make_unique<int>(7)] {
            CHECK(*value == 7);
            done.set();
        });
        done.wait();
    });
}

TEST_CASE("handlers that are bound to it may wait") {
    coir::run([] {
        asio::steady_timer timer{this_hub_io_context(), 1ms};
        event done;
        timer.async_wait(asio::bind_executor(this_hub_executor(), [&](boost::system::error_code error) {
            CHECK(!error);
            this_fiber::sleep_for(1ms);
            done.set();
        }));
        done.wait();
    });
}

TEST_CASE("a strand over it runs one function at a time until that waits no more") {
    testing::run([] {
        auto strand = asio::make_strand(this_hub_executor());
        std::string order;
        event done;
        for (const char name : {'a', 'b', 'c'})
            asio::post(strand, [&, name] {
                order += name;
                this_fiber::sleep_for(1s);
                order += name;
                if (name == 'c')
                    done.set();
            });
        done.wait();
        CHECK(order == "aabbcc");
    });
}

TEST_CASE("it fits into the executors that hide their type") {
    coir::run([] {
        asio::any_io_executor any = this_hub_executor();
        CHECK(&asio::query(any, asio::execution::context) == &this_hub_io_context());
        asio::post(any, use_fiber);
        auto tracked = asio::prefer(any, asio::execution::outstanding_work.tracked);
        asio::post(tracked, use_fiber);
        CHECK(any == asio::any_io_executor{this_hub_executor()});
        CHECK(any != tracked);
    });
}

TEST_CASE("the runtime goes on while work is outstanding") {
    int done = 0;
    asio::thread_pool pool{1};
    for (int i = 0; i < 20; ++i) {
        runtime workers{{.hubs = 2}};
        const executor there{workers.hub(1)};
        asio::post(pool, [&, guard = asio::make_work_guard(there)] {
            asio::post(guard.get_executor(), [&] {
                this_fiber::yield();
                ++done;
            });
        });
        workers.run();
        CHECK(done == i + 1);
    }
    pool.join();
}

TEST_CASE("a handler on its way to a hub keeps the runtime, also when main has ended") {
    asio::thread_pool pool{1};
    bool called = false;
    coir::run([&] {
        auto timer = std::make_shared<asio::steady_timer>(pool, 5ms);
        timer->async_wait(asio::bind_executor(this_hub_executor(), [&, timer](auto) { called = true; }));
    });
    CHECK(called);
    pool.join();
}

TEST_CASE("in virtual time outstanding work is no deadlock") {
    asio::thread_pool pool{1};
    testing::run([&] {
        event done;
        asio::steady_timer timer{pool, 5ms};
        timer.async_wait(asio::bind_executor(this_hub_executor(), [&](auto) { done.set(); }));
        done.wait();
    });
    pool.join();
}

TEST_CASE("after a shutdown nothing is taken any more") {
    runtime background{{.hubs = 1}};
    background.start();
    const executor there{background.hub(0)};
    CHECK(background.shutdown(10s).complete());
    CHECK_THROWS_AS(asio::post(there, [] {}), std::system_error);
}

TEST_CASE("there is none outside of a hub") {
    CHECK_THROWS_AS(this_hub_executor(), std::logic_error);
}

TEST_SUITE_END();
