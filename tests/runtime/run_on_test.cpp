// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/run_on.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>
#include <coir/use_fiber.hpp>

#include <functional>
#include <stdexcept>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace asio = boost::asio;
using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("run_on");

TEST_CASE("fibers and the handlers of an io_context take turns on one thread") {
    asio::io_context context;
    asio::steady_timer tick{context};
    int ticks = 0;
    std::function<void()> go_on = [&] {
        tick.expires_after(100us);
        tick.async_wait([&](boost::system::error_code error) {
            if (error)
                return;
            CHECK(!this_fiber::active());
            ++ticks;
            go_on();
        });
    };
    go_on();
    const int result = run_on(context, [&] {
        CHECK(&this_hub_io_context() == &context);
        while (ticks < 5)
            this_fiber::sleep_for(100us);
        asio::steady_timer timer{context, 1ms};
        timer.async_wait(use_fiber);
        return 7;
    });
    CHECK(result == 7);

    // What is left stays in the context.
    const int before = ticks;
    context.restart();
    while (ticks == before)
        context.run_one();
}

TEST_CASE("stop does not end it, and a context that was stopped may be used") {
    asio::io_context context;
    context.stop();
    run_on(context, [&] {
        asio::post(context, [&] { context.stop(); });
        this_fiber::sleep_for(1ms);
        asio::steady_timer timer{context, 1ms};
        timer.async_wait(use_fiber);
    });
}

TEST_CASE("the same context again and again, and woken by other threads to the last") {
    asio::io_context context;
    for (int i = 0; i < 50; ++i) {
        std::thread other;
        run_on(context, [&] {
            binary_semaphore done{0};
            other = std::thread{[&] { done.release(); }};
            done.acquire();
            this_fiber::sleep_for(1us);
        });
        other.join();
    }
}

TEST_CASE("an exception leaves it, as it leaves run") {
    asio::io_context context;
    CHECK_THROWS_AS(run_on(context, [] { throw std::out_of_range{""}; }), std::out_of_range);
}

TEST_CASE("a handler cannot run the context that runs it") {
    asio::io_context context;
    bool refused = false;
    asio::post(context, [&] {
        try {
            run_on(context, [] {});
        } catch (const std::logic_error&) {
            refused = true;
        }
    });
    context.run();
    CHECK(refused);
}

TEST_CASE("a runtime may have it for a driver, in the background") {
    asio::io_context context;
    runtime background{driver_on(context)};
    background.start();
    event done;
    background.spawn([&] {
        asio::steady_timer timer{this_hub_io_context(), 1ms};
        timer.async_wait(use_fiber);
        done.set();
    });
    done.wait();
    CHECK(background.shutdown(10s).complete());
}

TEST_SUITE_END();
