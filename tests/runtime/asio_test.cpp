// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/asio.hpp>
#include <coir/event.hpp>
#include <coir/executor.hpp>
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <stdexcept>
#include <thread>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("asio");

TEST_CASE("handlers on the hub's io_context run between fibers and may wake them") {
    coir::run([] {
        event done;
        bool in_fiber = true;
        boost::asio::post(this_hub_io_context(), [&] {
            in_fiber = this_fiber::active();
            done.set();
        });
        done.wait();
        CHECK(!in_fiber);
    });
}

TEST_CASE("a fiber may wait for an operation of Asio") {
    coir::run([] {
        boost::asio::steady_timer timer{this_hub_io_context(), 1ms};
        event done;
        boost::system::error_code result{boost::asio::error::fault};
        timer.async_wait([&](const boost::system::error_code& error) {
            result = error;
            done.set();
        });
        done.wait();
        CHECK(!result);
    });
}

TEST_CASE("an io_context needs a hub that has one") {
    CHECK_THROWS_AS(this_hub_io_context(), std::logic_error);
    testing::run([] { CHECK_THROWS_AS(this_hub_io_context(), std::logic_error); });
}

namespace {

/// Calls `ask` with a function that must be called on some thread, and waits until it has been.
void until_called(auto ask)
{
    const auto called = std::make_shared<event>(); // who calls may be in it for longer than we wait for it
    ask([called] { called->set(); });
    called->wait();
}

} // namespace

TEST_CASE("a hub that is blocked already runs what is posted to its io_context") {
    for (int i = 0; i < 50; ++i) {
        runtime background{{.hubs = 1}};
        background.start();
        until_called([&](auto call) { background.spawn(call); });
        // And now, or soon, the hub blocks where it has nothing to do with Asio.
        if (i % 2)
            std::this_thread::yield();
        const executor hub{background.hub(0)};
        auto& context = static_cast<boost::asio::io_context&>(boost::asio::query(hub, boost::asio::execution::context));
        until_called([&](auto call) { boost::asio::post(context, call); });
        until_called([&](auto call) {
            const auto timer = std::make_shared<boost::asio::steady_timer>(context, 100us);
            boost::asio::post(context, [=] { timer->async_wait([=](boost::system::error_code) { call(); }); });
        });
    }
}

TEST_CASE("handlers posted by other threads, requests to the hub and sleeps: each wakes it") {
    // A wake-up that was lost would leave somebody waiting for ever.
    constexpr int rounds = 5'000;
    runtime background{{.hubs = 1}};
    background.start();
    boost::asio::io_context* context = nullptr;
    until_called([&](auto call) {
        background.spawn([&context, call] {
            context = &this_hub_io_context();
            call();
        });
    });
    std::thread handlers{[&] {
        for (int i = 0; i < rounds; ++i)
            until_called([&](auto call) { boost::asio::post(*context, call); });
    }};
    std::thread requests{[&] {
        for (int i = 0; i < rounds; ++i)
            until_called([&](auto call) { background.hub(0).post(call); });
    }};
    until_called([&](auto call) {
        background.spawn([call] {
            for (int i = 0; i < 100; ++i)
                this_fiber::sleep_for(std::chrono::microseconds{i * 37 % 3'000});
            call();
        });
    });
    handlers.join();
    requests.join();
}

TEST_CASE("deadlines that come earlier than the one waited for are kept as well") {
    coir::run([] {
        event done;
        fiber far{[&] { CHECK(done.wait_for(1h)); }};
        this_fiber::sleep_for(2ms);
        fiber near{[&] { CHECK(!event{}.wait_for(1ms)); }};
        near.join();
        done.set();
        far.join();
        this_fiber::sleep_for(1us);
    });
}

TEST_SUITE_END();
