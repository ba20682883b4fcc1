// SPDX-License-Identifier: BSL-1.0
// The race of net/src/happy_eyeballs.hpp in virtual time, with connections that are only told of.
#include "happy_eyeballs.hpp"

#include <coir/deadline.hpp>
#include <coir/testing.hpp>

#include <doctest/doctest.h>
#include <boost/asio/error.hpp>

#include <map>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using boost::asio::ip::make_address;
using boost::system::error_code;
using coir::clock;
using coir::net::tcp_endpoint;
namespace error = boost::asio::error;

namespace {

tcp_endpoint at(const char* address)
{
    return {make_address(address), 80};
}

std::vector<tcp_endpoint> all_at(std::initializer_list<const char*> addresses)
{
    std::vector<tcp_endpoint> result;
    for (const char* each : addresses)
        result.push_back(at(each));
    return result;
}

/// An attempt that takes so long and then ends so.
struct fate {
    clock::duration takes;
    error_code failure{};
};

/// Where connections would be, and what happened when.
struct world {
    std::map<tcp_endpoint, fate> fates;
    clock::time_point begin = clock::now();
    std::vector<std::string> events{};
    int open = 0;

    /// What is connected.
    struct connection {
        world* in = nullptr;
        tcp_endpoint to{};
        connection() = default;
        connection(world& where, const tcp_endpoint& endpoint) : in{&where}, to{endpoint} { ++in->open; }
        connection(connection&& other) noexcept : in{std::exchange(other.in, nullptr)}, to{other.to} {}
        connection& operator=(connection&&) = delete;
        ~connection()
        {
            if (in)
                --in->open;
        }
    };

    void note(const char* what, const tcp_endpoint& endpoint)
    {
        const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - begin).count();
        events.push_back(std::to_string(now) + " " + what + " " + endpoint.address().to_string());
    }
    auto race(const std::vector<tcp_endpoint>& order, clock::duration delay = 250ms)
    {
        return coir::net::race<connection>(order, delay, [this](const tcp_endpoint& to, error_code& ec) {
            note("try", to);
            const auto [takes, failure] = fates.at(to);
            try {
                coir::this_fiber::sleep_for(takes);
            } catch (const coir::cancelled&) {
                note("cancel", to);
                throw;
            }
            ec = failure;
            note(failure ? "fail" : "connect", to);
            return failure ? connection{} : connection{*this, to};
        });
    }
};

using strings = std::vector<std::string>;

} // namespace

TEST_CASE("addresses are tried in turns of their families") {
    const auto six_and_four = all_at({"::1", "::2", "::3", "10.0.0.1", "10.0.0.2"});
    CHECK(coir::net::interleave(six_and_four, 1) == all_at({"::1", "10.0.0.1", "::2", "10.0.0.2", "::3"}));
    CHECK(coir::net::interleave(six_and_four, 2) == all_at({"::1", "::2", "10.0.0.1", "::3", "10.0.0.2"}));
    CHECK(coir::net::interleave(all_at({"10.0.0.1", "10.0.0.2", "::1"}), 1) == all_at({"10.0.0.1", "::1", "10.0.0.2"}));
    CHECK(coir::net::interleave(all_at({"::1"}), 1) == all_at({"::1"}));
    CHECK(coir::net::interleave({}, 1).empty());
}

TEST_CASE("the first address wins without another being tried, if it is fast") {
    coir::testing::run([] {
        world here{.fates = {{at("::1"), {100ms}}, {at("10.0.0.1"), {1ms}}}};
        const auto result = here.race(all_at({"::1", "10.0.0.1"}));
        CHECK(result.winner->to == at("::1"));
        CHECK(here.events == strings{"0 try ::1", "100 connect ::1"});
    });
}

TEST_CASE("an address that does not answer has a head start of 250 ms, and is given up when another connects") {
    coir::testing::run([] {
        world here{.fates = {{at("::1"), {2min, error::timed_out}}, {at("10.0.0.1"), {30ms}}}};
        const auto result = here.race(all_at({"::1", "10.0.0.1"}));
        CHECK(result.winner->to == at("10.0.0.1"));
        CHECK(here.events == strings{"0 try ::1", "250 try 10.0.0.1", "280 connect 10.0.0.1", "280 cancel ::1"});
        CHECK(here.open == 1);
    });
}

TEST_CASE("the next address is tried at once when one fails") {
    coir::testing::run([] {
        world here{.fates = {{at("::1"), {10ms, error::network_unreachable}},
                             {at("10.0.0.1"), {20ms, error::connection_refused}},
                             {at("10.0.0.2"), {5ms}}}};
        const auto result = here.race(all_at({"::1", "10.0.0.1", "10.0.0.2"}));
        CHECK(result.winner->to == at("10.0.0.2"));
        CHECK(here.events == strings{"0 try ::1", "10 fail ::1", "10 try 10.0.0.1", "30 fail 10.0.0.1",
                                     "30 try 10.0.0.2", "35 connect 10.0.0.2"});
        CHECK(result.failures.size() == 2);
    });
}

TEST_CASE("a slow first address still wins if the second one is slower") {
    coir::testing::run([] {
        world here{.fates = {{at("::1"), {300ms}}, {at("10.0.0.1"), {200ms}}}};
        const auto result = here.race(all_at({"::1", "10.0.0.1"}));
        CHECK(result.winner->to == at("::1"));
        CHECK(here.events == strings{"0 try ::1", "250 try 10.0.0.1", "300 connect ::1", "300 cancel 10.0.0.1"});
        CHECK(here.open == 1);
    });
}

TEST_CASE("of two that connect at the same time one is closed") {
    coir::testing::run([] {
        world here{.fates = {{at("::1"), {300ms}}, {at("10.0.0.1"), {50ms}}}};
        {
            const auto result = here.race(all_at({"::1", "10.0.0.1"}));
            CHECK(result.winner.has_value());
            CHECK(here.open == 1);
        }
        CHECK(here.open == 0);
    });
}

TEST_CASE("all attempts have failed") {
    coir::testing::run([] {
        world here{.fates = {{at("::1"), {1ms, error::network_unreachable}},
                             {at("10.0.0.1"), {400ms, error::connection_refused}},
                             {at("10.0.0.2"), {10ms, error::host_unreachable}}}};
        const auto result = here.race(all_at({"::1", "10.0.0.1", "10.0.0.2"}));
        CHECK_FALSE(result.winner);
        CHECK(here.events.back() == "401 fail 10.0.0.1");
        REQUIRE(result.failures.size() == 3);
        CHECK(coir::net::most_telling(result.failures) == error::connection_refused);
        const coir::net::connect_error failure{"example.org:80", result.failures};
        CHECK(failure.code() == std::errc::connection_refused);
        CHECK(std::string{failure.what()} ==
              "coir::net::connect: example.org:80 ([::1]:80: Network is unreachable; 10.0.0.2:80: No route to host; "
              "10.0.0.1:80: Connection refused): Connection refused");
    });
}

TEST_CASE("a timeout around the race ends every attempt") {
    coir::testing::run([] {
        world here{.fates = {{at("::1"), {2min}}, {at("10.0.0.1"), {2min}}}};
        coir::timeout limit{1s};
        CHECK_THROWS_AS(here.race(all_at({"::1", "10.0.0.1"})), coir::timed_out);
        CHECK(here.events == strings{"0 try ::1", "250 try 10.0.0.1", "1000 cancel ::1", "1000 cancel 10.0.0.1"});
    });
}

TEST_CASE("no connection is lost or left open, whichever wait of the race is cancelled") {
    coir::testing::cancel_each_wait(1, [] {
        world here{
            .fates = {{at("::1"), {300ms}}, {at("10.0.0.1"), {50ms}}, {at("::2"), {1ms, error::connection_refused}}}};
        coir::fiber connecting{[&] { static_cast<void>(here.race(all_at({"::2", "::1", "10.0.0.1"}))); }};
        connecting.join();
        CHECK(here.open == 0);
    });
}
