// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/inspect.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <boost/asio/steady_timer.hpp>

#include <string>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("inspect");

TEST_CASE("fibers lists the hub's fibers, oldest first, and what each is doing") {
    testing::run([] {
        event gate;
        const auto start = clock::now();
        fiber waiting{{.name = "waiting"}, [&] { gate.wait_for(1h); }};
        fiber sleeping{{.name = "sleeping"}, [] { this_fiber::sleep_for(2h); }};
        this_fiber::yield();
        fiber fresh{{.name = "fresh"}, [] {}};

        const auto all = fibers();
        REQUIRE(all.size() == 4);
        using state = fiber_info::state;
        CHECK(all[0].name == "main");
        CHECK(all[0].id == this_fiber::get_id());
        CHECK((all[0].doing == state::running));

        CHECK(all[1].name == "waiting");
        CHECK(all[1].id == waiting.get_id());
        CHECK((all[1].doing == state::waiting));
        CHECK(std::string{all[1].waiting_for.what} == "event");
        CHECK(all[1].waiting_for.object == &gate);
        CHECK(all[1].waiting_for.descriptor == -1);
        CHECK(all[1].since == start);
        CHECK(all[1].deadline == start + 1h);

        CHECK(all[2].name == "sleeping");
        CHECK(std::string{all[2].waiting_for.what} == "sleep");
        CHECK(all[2].deadline == start + 2h);

        CHECK(all[3].name == "fresh");
        CHECK((all[3].doing == state::ready));
    });
}

TEST_CASE("a fiber that has ended is not listed any more") {
    testing::run([] {
        fiber quick{[] {}};
        CHECK(fibers().size() == 2);
        this_fiber::yield();
        CHECK(fibers().size() == 1);
    });
}

TEST_CASE("describe_fibers has a line for each fiber") {
    testing::run([] {
        event gate;
        fiber waiting{{.name = "waiting"}, [&] { gate.wait(); }};
        fiber shielded{[&] {
            park_until({.reason = {.what = "readable", .descriptor = 17},
                        .deadline = clock::now() + 1min,
                        .interruptible = false});
        }};
        this_fiber::sleep_for(1500ms);
        const auto text = describe_fibers();
        CAPTURE(text);
        CHECK(std::count(text.begin(), text.end(), '\n') == 3);
        CHECK(text.find("(main): running") != std::string::npos);
        CHECK(text.find("(waiting): waits for event") != std::string::npos);
        CHECK(text.find("waits for descriptor 17 to be readable, 1500 ms, cannot be cancelled") != std::string::npos);
        gate.set();
    });
}

TEST_CASE("the age of a wait is of now, also while the hub sleeps and has not looked for as long") {
    run([] {
        std::string text;
        event told;
        boost::asio::steady_timer timer{this_hub_io_context(), 20ms};
        timer.async_wait([&](const boost::system::error_code&) { // the hub has slept until now
            text = describe_fibers();
            told.set();
        });
        told.wait();
        CAPTURE(text);
        CHECK(text.find("(main): waits for event") != std::string::npos);
        CHECK(text.find(", 0 ms") == std::string::npos);
    });
}

TEST_CASE("on a plain thread there are no fibers to list") {
    CHECK(fibers().empty());
    CHECK(describe_fibers().empty());
}

TEST_SUITE_END();
