// SPDX-License-Identifier: BSL-1.0
#include "loopback.hpp"

#include <coir/fiber_group.hpp>
#include <coir/hub.hpp>
#include <coir/net/serve.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;
using namespace coir::net;

namespace {

std::array<std::atomic<int>, 2> served;

void echo(tcp_stream stream)
{
    ++served[coir::this_hub().index()];
    char data[100];
    error_code ec;
    for (;;) {
        const auto size = stream.read_some(data, ec);
        if (ec.failed())
            return;
        stream.write(std::string_view{data, size});
    }
}

} // namespace

TEST_CASE("two hubs serve one port, until a stop") {
    served[0] = served[1] = 0;
    coir::runtime hubs{{.hubs = 2}};
    const auto report = coir::run_in(hubs, [&] {
        auto listeners = listen_on_hubs(hubs, loopback());
        REQUIRE(listeners.size() == 2);
        const auto at = listeners.front().local_endpoint();
        CHECK(listeners.back().local_endpoint() == at);
        std::stop_source stop;
        serve_report result;
        coir::fiber service{
            [&] { result = serve_on_hubs(hubs, std::move(listeners), echo, {.stop = stop.get_token()}); }};
        coir::fiber_group clients;
        for (int i = 0; i < 100; ++i)
            clients.spawn({.on = coir::placement::any_hub}, [at] {
                auto client = tcp_stream::connect(at);
                for (int round = 0; round < 10; ++round) {
                    client.write("hello");
                    std::string text(5, ' ');
                    client.read(text);
                    CHECK(text == "hello");
                }
            });
        clients.join();
        stop.request_stop();
        service.join();
        return result;
    });
    CHECK(report.accepted == 100);
    CHECK(report.failed == 0);
    CHECK(served[0] + served[1] == 100);
    // The kernel spreads by a hash of the addresses: that one of the two gets none of 100 has a chance of 2 in 2^100.
    CHECK(served[0] > 0);
    CHECK(served[1] > 0);
}

TEST_CASE("cancelling who serves ends the service on every hub") {
    served[0] = served[1] = 0;
    coir::runtime hubs{{.hubs = 2}};
    coir::run_in(hubs, [&] {
        auto listeners = listen_on_hubs(hubs, loopback());
        const auto at = listeners.front().local_endpoint();
        coir::fiber service{[&] { serve_on_hubs(hubs, std::move(listeners), echo); }};
        std::vector<tcp_stream> clients;
        for (int i = 0; i < 20; ++i) {
            clients.push_back(tcp_stream::connect(at));
            clients.back().write("x");
            char data[1];
            CHECK(clients.back().read(data) == 1);
        }
        service.cancel();
        service.join();
        error_code ec;
        tcp_stream::connect(at, ec);
        CHECK(ec == error::connection_refused);
        char data[1];
        for (auto& client : clients)
            client.read_some(data, ec);
        CHECK(ec.failed());
    });
}

TEST_CASE("errors of handlers are told of on their hubs, and counted together") {
    coir::runtime hubs{{.hubs = 2}};
    std::atomic<int> told{0};
    const auto report = coir::run_in(hubs, [&] {
        auto listeners = listen_on_hubs(hubs, loopback());
        const auto at = listeners.front().local_endpoint();
        std::stop_source stop;
        serve_report result;
        coir::fiber service{[&] {
            result = serve_on_hubs(hubs, std::move(listeners), [](tcp_stream) { throw std::runtime_error{"no"}; },
                                   {.stop = stop.get_token(), .on_error = [&](const std::exception_ptr&) { ++told; }});
        }};
        for (int i = 0; i < 10; ++i) {
            auto client = tcp_stream::connect(at);
            char data[1];
            error_code ec;
            client.read_some(data, ec);
            CHECK(ec.failed());
        }
        stop.request_stop();
        service.join();
        return result;
    });
    CHECK(report.accepted == 10);
    CHECK(report.failed == 10);
    CHECK(told == 10);
}
