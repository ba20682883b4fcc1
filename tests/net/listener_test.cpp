// SPDX-License-Identifier: BSL-1.0
#include "loopback.hpp"
#include "waiting.hpp"

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/tcp_listener.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <sys/socket.h>

#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace coir::net;

TEST_CASE("a fiber waits until somebody connects, and accepts it") {
    coir::run([] {
        tcp_listener listener{loopback()};
        tcp_stream accepted;
        coir::fiber server{[&] { accepted = listener.accept(); }};
        until_waiting(server.get_id());
        const auto client = tcp_stream::connect(listener.local_endpoint());
        server.join();
        CHECK(accepted.remote_endpoint() == client.local_endpoint());
    });
}

TEST_CASE("several fibers accept on one listener, each connection once") {
    coir::run([] {
        tcp_listener listener{loopback()};
        int accepted = 0;
        coir::fiber_group group;
        for (int i = 0; i < 5; ++i)
            group.spawn([&] {
                listener.accept();
                ++accepted;
            });
        std::vector<tcp_stream> clients;
        for (int i = 0; i < 5; ++i)
            clients.push_back(tcp_stream::connect(listener.local_endpoint()));
        group.join();
        CHECK(accepted == 5);
    });
}

TEST_CASE("a port in use, and one that may not be used") {
    const tcp_listener first{loopback()};
    error_code ec;
    const auto second = tcp_listener::listen(first.local_endpoint(), ec);
    CHECK(ec == error::address_in_use);
    CHECK_FALSE(second.is_open());
    CHECK(code_of([&] { tcp_listener{first.local_endpoint()}; }) == std::errc::address_in_use);
    CHECK(code_of([&] {
              tcp_listener{{make_address("192.0.2.1"), 0}}; // TEST-NET-1, nobody's
          }) == std::errc::address_not_available);
}

TEST_CASE("several listeners share a port if all of them say so") {
    const tcp_listener first{loopback(), {.reuse_port = true}};
    const tcp_listener second{first.local_endpoint(), {.reuse_port = true}};
    CHECK(first.local_endpoint() == second.local_endpoint());
}

TEST_CASE("both families, or IPv6 alone") {
    coir::run([] {
        tcp_listener both{{make_address("::"), 0}, {.v6_only = false}};
        const auto port = both.local_endpoint().port();
        const auto client = tcp_stream::connect({make_address("127.0.0.1"), port});
        CHECK(both.accept().remote_endpoint().address().to_v6().is_v4_mapped());
        const tcp_listener alone{{make_address("::1"), 0}, {.v6_only = true}};
        error_code ec;
        tcp_stream::connect({make_address("127.0.0.1"), alone.local_endpoint().port()}, ec);
        CHECK(ec.failed());
    });
}

TEST_CASE("close wakes who accepts, and so do a timeout and cancellation") {
    coir::run([] {
        tcp_listener listener{loopback()};
        error_code ec;
        coir::fiber server{[&] { listener.accept(ec); }};
        until_waiting(server.get_id());
        listener.close();
        server.join();
        CHECK(ec == error::bad_descriptor);

        tcp_listener other{loopback()};
        {
            const coir::timeout limit{2ms};
            CHECK_THROWS_AS(other.accept(), coir::timed_out);
        }
        coir::fiber waiting{[&] { other.accept(); }};
        until_waiting(waiting.get_id());
        waiting.cancel();
        waiting.join();
    });
}

TEST_CASE("with no descriptor left, accept says so, and the connection waits") {
    coir::run([] {
        tcp_listener listener{loopback()};
        auto client = tcp_stream::connect(listener.local_endpoint());
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
        const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        error_code ec;
        listener.accept(ec);
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
        CHECK(ec == error::no_descriptors);
        auto accepted = listener.accept();
        client.write("x");
        char data[1];
        CHECK(accepted.read_some(data) == 1);
    });
}

TEST_CASE("a connection that is gone again is accepted or passed over, and the next one is served") {
    coir::run([] {
        tcp_listener listener{loopback()};
        auto gone = tcp_stream::connect(listener.local_endpoint());
        gone.set_option(coir::net::socket::linger{true, 0});
        gone.close();
        const auto client = tcp_stream::connect(listener.local_endpoint());
        error_code ec;
        tcp_stream accepted;
        do {
            accepted = listener.accept(ec);
            REQUIRE_FALSE(ec.failed());
            accepted.remote_endpoint(ec); // a connection that was reset has none
        } while (ec.failed());
        CHECK(accepted.remote_endpoint() == client.local_endpoint());
    });
}

TEST_CASE("a listening socket of somebody else's is taken over") {
    coir::run([] {
        tcp_listener first{loopback()};
        const auto at = first.local_endpoint();
        tcp_listener second{first.release()};
        const auto client = tcp_stream::connect(at);
        CHECK(second.accept().remote_endpoint() == client.local_endpoint());
        CHECK(code_of([] { tcp_listener{unique_fd{}}; }) == std::errc::bad_file_descriptor);
    });
}

TEST_CASE("two hubs accept on one listener") {
    tcp_listener listener{loopback()};
    std::atomic<int> accepted{0};
    std::vector<std::thread> hubs;
    for (int i = 0; i < 2; ++i)
        hubs.emplace_back([&] {
            coir::run([&] {
                while (listener.accept()) {
                    if (++accepted == 40)
                        break;
                    if (accepted > 40)
                        break;
                }
            });
        });
    std::vector<tcp_stream> clients;
    for (int i = 0; i < 41; ++i)
        clients.push_back(tcp_stream::connect(listener.local_endpoint()));
    for (auto& hub : hubs)
        hub.join();
    CHECK(accepted == 41);
}
