// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/asio.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <stdexcept>

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
