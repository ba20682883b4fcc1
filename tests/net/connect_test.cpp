// SPDX-License-Identifier: BSL-1.0
// Connecting by name, over loopback. Where a machine is wanted that does not answer, a listener's queue is full: then
// the kernel drops what comes.
#include "loopback.hpp"

#include <coir/net/connect.hpp>

#include <coir/deadline.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using coir::net::connect_options;
using coir::net::error_code;
using coir::net::host_addresses;
using coir::net::host_and_service;
using coir::net::make_address;
using coir::net::name_query;
using coir::net::tcp_endpoint;
using coir::net::tcp_listener;
using coir::net::tcp_stream;
namespace error = coir::net::error;

namespace {

tcp_endpoint six(unsigned short port = 0)
{
    return {boost::asio::ip::address_v6::loopback(), port};
}

/// A listener that takes no more connections. What has filled it stays as long as it does.
class silent_listener {
public:
    explicit silent_listener(const tcp_endpoint& at) : listener_{at, {.backlog = 1}}
    {
        for (;;) {
            error_code ec;
            try {
                const coir::timeout limit{100ms}; // it has dropped the first try, then
                fill_.push_back(tcp_stream::connect(listener_.local_endpoint(), ec));
            } catch (const coir::timed_out&) {
                return;
            }
            REQUIRE_FALSE(ec.failed());
        }
    }
    tcp_endpoint endpoint() const { return listener_.local_endpoint(); }

private:
    tcp_listener listener_;
    std::vector<tcp_stream> fill_;
};

/// A port of this machine at which nobody listens.
unsigned short closed_port()
{
    return tcp_listener{loopback()}.local_endpoint().port();
}

/// Knows one name, "host".
coir::net::resolver knowing(std::vector<tcp_endpoint> endpoints)
{
    return coir::net::resolver{{.ask = [endpoints](const name_query& query, host_addresses& found) -> error_code {
        if (query.host != "host")
            return error::host_not_found;
        found.endpoints = endpoints;
        return {};
    }}};
}

std::ptrdiff_t open_descriptors()
{
    return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, {});
}

} // namespace

TEST_CASE("HOST:PORT is taken apart") {
    struct {
        const char* text;
        const char* host;
        const char* service;
    } const good[] = {
        {"example.org:443", "example.org", "443"},   {"example.org:https", "example.org", "https"},
        {"192.0.2.1:80", "192.0.2.1", "80"},         {"[2001:db8::1]:80", "2001:db8::1", "80"},
        {"[fe80::1%eth0]:80", "fe80::1%eth0", "80"}, {":80", "", "80"},
    };
    for (const auto& [text, host, service] : good) {
        const auto parts = coir::net::split_host_port(text);
        CHECK(parts.host == host);
        CHECK(parts.service == service);
    }
    for (const char* bad : {"", "example.org", "example.org:", "::1", "2001:db8::1:80", "[::1]", "[::1]80", "[::1",
                            "[]:80", "a]:80", "a:[80", "[[::1]]:80"}) {
        CAPTURE(bad);
        error_code ec;
        coir::net::split_host_port(bad, ec);
        CHECK(ec == error::invalid_argument);
    }
    CHECK_THROWS_WITH_AS(coir::net::split_host_port("example.org"),
                         "coir::net: 'example.org' is no HOST:PORT: Invalid argument", std::system_error);
}

TEST_CASE("connect takes names and numbers") {
    coir::run([] {
        tcp_listener listener{loopback()};
        const auto port = std::to_string(listener.local_endpoint().port());
        for (const auto& target : {"127.0.0.1:" + port, "localhost:" + port}) {
            auto ours = coir::net::connect(target);
            auto theirs = listener.accept();
            ours.write("x");
            char byte = 0;
            CHECK(theirs.read(boost::asio::buffer(&byte, 1)) == 1);
            CHECK(byte == 'x');
        }
        tcp_listener other{six()};
        const auto ours = coir::net::connect("[::1]:" + std::to_string(other.local_endpoint().port()));
        CHECK(ours.remote_endpoint() == other.local_endpoint());
    });
}

TEST_CASE("connect works on a plain thread") {
    tcp_listener listener{loopback()};
    const auto port = listener.local_endpoint().port();
    auto names = knowing({six(port), loopback(port)});
    const auto stream = coir::net::connect("host:1", {.names = &names});
    CHECK(stream.remote_endpoint() == loopback(port));
}

TEST_CASE("connect goes on to the next address where nobody listens") {
    coir::run([] {
        tcp_listener listener{loopback()};
        const auto port = listener.local_endpoint().port();
        auto names = knowing({six(port), loopback(port)});
        error_code ec;
        const auto stream = coir::net::connect("host:1", ec, {.names = &names});
        CHECK_FALSE(ec.failed());
        CHECK(stream.remote_endpoint() == loopback(port));
    });
}

TEST_CASE("connect does not wait for an address that does not answer") {
    coir::run([] {
        const silent_listener silent{six()};
        tcp_listener listener{loopback()};
        const auto before = open_descriptors();
        auto names = knowing({silent.endpoint(), loopback(listener.local_endpoint().port())});
        {
            const auto stream = coir::net::connect("host:1", {.names = &names});
            CHECK(stream.remote_endpoint() == listener.local_endpoint());
            CHECK(open_descriptors() == before + 1); // the attempt that lost is closed
        }
        CHECK(open_descriptors() == before);
    });
}

TEST_CASE("connect gives up at a deadline") {
    coir::run([] {
        const silent_listener silent{loopback()};
        const auto before = open_descriptors();
        coir::timeout limit{50ms};
        error_code ec;
        const std::vector<tcp_endpoint> endpoints{silent.endpoint()};
        CHECK_THROWS_AS(coir::net::connect(endpoints, ec), coir::timed_out);
        CHECK(limit.expired());
        CHECK(open_descriptors() == before);
    });
}

TEST_CASE("connect tells of every address that has failed") {
    coir::run([] {
        const auto port = closed_port();
        const tcp_endpoint nowhere{make_address("255.255.255.255"), 80}; // no machine has it
        auto names = knowing({nowhere, loopback(port)});
        error_code ec;
        CHECK_FALSE(coir::net::connect("host:1", ec, {.names = &names}).is_open());
        CHECK(ec == error::connection_refused);
        try {
            coir::net::connect("host:1", {.names = &names});
            FAIL("connected");
        } catch (const coir::net::connect_error& failure) {
            CHECK(failure.code() == std::errc::connection_refused);
            REQUIRE(failure.attempts().size() == 2);
            CHECK(failure.attempts()[0].endpoint == nowhere);
            CHECK(failure.attempts()[1].failure == error::connection_refused);
            CHECK(std::string{failure.what()}.starts_with("coir::net::connect: host:1 (255.255.255.255:80: "));
        }
    });
}

TEST_CASE("a name that does not resolve is not connected to") {
    coir::run([] {
        auto names = knowing({});
        const connect_options options{.names = &names};
        error_code ec;
        coir::net::connect("other:80", ec, options);
        CHECK(ec == error::host_not_found);
        coir::net::connect("host:80", ec, options);
        CHECK(ec == error::not_found);
        coir::net::connect("host", ec, options);
        CHECK(ec == error::invalid_argument);
        CHECK_THROWS_WITH_AS(coir::net::connect("other:80", options),
                             "coir::net::connect: other:80: Host not found (authoritative)", std::system_error);
    });
}
