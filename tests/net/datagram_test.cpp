// SPDX-License-Identifier: BSL-1.0
#include "waiting.hpp"

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/udp_socket.hpp>
#include <coir/net/unix_datagram.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/multicast.hpp>

using namespace std::chrono_literals;
using namespace coir::net;
namespace asio = boost::asio;

namespace {

udp_endpoint loopback()
{
    return {make_address("127.0.0.1"), 0};
}

std::string name_of(const char* what)
{
    return std::string(1, '\0') + "coir-" + what + "-" + std::to_string(::getpid());
}

} // namespace

TEST_CASE("a datagram goes there, and its answer back to where it came from") {
    coir::run([] {
        udp_socket server{loopback()};
        coir::fiber echo{[&] {
            std::array<char, 100> data;
            const auto asked = server.receive_from(data);
            server.send_to(std::string_view{data.data(), asked.size}, asked.from);
        }};
        udp_socket client{loopback()};
        until_waiting(echo.get_id());
        client.send_to(std::array{asio::buffer("two ", 4), asio::buffer("parts", 5)}, server.local_endpoint());
        std::array<char, 100> data;
        const auto answer = client.receive_from(data);
        CHECK(std::string_view{data.data(), answer.size} == "two parts");
        CHECK(answer.from == server.local_endpoint());
        CHECK_FALSE(answer.truncated());
        CHECK((::fcntl(client.native_handle(), F_GETFL) & O_NONBLOCK) == 0);
    });
}

TEST_CASE("on a plain thread, IPv6") {
    udp_socket server{{make_address("::1"), 0}, {.v6_only = true}};
    std::thread peer{[at = server.local_endpoint()] {
        udp_socket client{{make_address("::1"), 0}};
        client.send_to("x", at);
    }};
    std::array<char, 10> data;
    CHECK(server.receive(data) == 1);
    peer.join();
}

TEST_CASE("what does not fit is told of, and an empty datagram is one") {
    coir::run([] {
        udp_socket server{loopback()};
        udp_socket client{loopback()};
        client.connect(server.local_endpoint());
        CHECK(client.remote_endpoint() == server.local_endpoint());
        std::array<char, 4> data;
        client.send("0123456789");
        const auto received = server.receive_from(data);
        CHECK(received.truncated());
        CHECK(received.size == 4);
        CHECK(received.full_size == 10);
        client.send("0123456789");
        error_code ec;
        CHECK(server.receive(data, ec) == 4);
        CHECK(ec == error::message_size);
        client.send("");
        CHECK(server.receive(data) == 0);
        CHECK(code_of([&] { client.send(std::string(70'000, 'x')); }) == std::errc::message_size);
    });
}

TEST_CASE("a connected socket hears that nobody is there, and only from its peer") {
    coir::run([] {
        udp_socket client{loopback()};
        {
            const udp_socket gone{loopback()};
            client.connect(gone.local_endpoint());
        }
        client.send("x");
        std::array<char, 4> data;
        CHECK(code_of([&] { client.receive(data); }) == std::errc::connection_refused);

        udp_socket peer{loopback()};
        client.connect(peer.local_endpoint());
        udp_socket stranger{loopback()};
        stranger.send_to("s", client.local_endpoint());
        peer.send_to("p", client.local_endpoint());
        CHECK(client.receive(data) == 1);
        CHECK(data[0] == 'p');
    });
}

TEST_CASE("a port in use, unless shared") {
    const udp_socket first{loopback()};
    error_code ec;
    udp_socket::bind(first.local_endpoint(), ec);
    CHECK(ec == error::address_in_use);
    const udp_socket shared{loopback(), {.reuse_port = true}};
    const udp_socket other{shared.local_endpoint(), {.reuse_port = true}};
    CHECK(code_of([&] { udp_socket{first.local_endpoint(), {.reuse_address = true}}; }) == std::errc::address_in_use);
}

TEST_CASE("close wakes who receives; a timeout and cancellation end a wait") {
    coir::run([] {
        udp_socket socket{loopback()};
        std::array<char, 4> data;
        error_code ec;
        coir::fiber receiver{[&] { socket.receive_from(data, ec); }};
        until_waiting(receiver.get_id());
        socket.close();
        receiver.join();
        CHECK(ec == error::bad_descriptor);
        udp_socket other{loopback()};
        {
            const coir::timeout limit{1ms};
            CHECK_THROWS_AS(other.receive(data), coir::timed_out);
        }
        coir::fiber waiting{[&] { other.receive(data); }};
        until_waiting(waiting.get_id());
        waiting.cancel();
        waiting.join();
    });
}

TEST_CASE("multicast on loopback, by Asio's options") {
    coir::run([] {
        udp_socket member{{make_address("0.0.0.0"), 0}, {.reuse_address = true}};
        const auto group = asio::ip::make_address_v4("239.1.2.3");
        member.set_option(asio::ip::multicast::join_group{group, asio::ip::address_v4::loopback()});
        udp_socket sender{loopback()};
        sender.set_option(asio::ip::multicast::outbound_interface{asio::ip::address_v4::loopback()});
        sender.set_option(asio::ip::multicast::enable_loopback{true});
        sender.send_to("all", {group, member.local_endpoint().port()});
        std::array<char, 10> data;
        CHECK(member.receive(data) == 3);
    });
}

TEST_CASE("Unix datagrams: none is lost where the receiver is slow, connected or not") {
    coir::run([] {
        for (const bool connected : {true, false}) {
            const unix_datagram_endpoint at{name_of("slow")};
            unix_datagram receiver{at};
            unix_datagram sender;
            if (connected)
                sender.connect(at);
            constexpr int count = 2000;
            coir::fiber sending{[&] {
                for (int i = 0; i < count; ++i) {
                    const auto text = std::to_string(i);
                    connected ? sender.send(text) : sender.send_to(text, at);
                }
            }};
            until_waiting(sending.get_id());
            std::array<char, 10> data;
            for (int i = 0; i < count; ++i) {
                const auto size = receiver.receive(data);
                REQUIRE(std::string_view{data.data(), size} == std::to_string(i));
            }
        }
    });
}

TEST_CASE("Unix datagrams: names, answers, and cutting off a send that waits") {
    coir::run([] {
        unix_datagram server{unix_datagram_endpoint{name_of("server")}};
        unix_datagram client{unix_datagram_endpoint{name_of("client")}};
        client.send_to("ask", server.local_endpoint());
        std::array<char, 10> data;
        const auto asked = server.receive_from(data);
        CHECK(asked.from == client.local_endpoint());
        server.send_to("answer", asked.from);
        CHECK(client.receive(data) == 6);
        unix_datagram nobody;
        nobody.send_to("x", server.local_endpoint());
        CHECK(server.receive_from(data).from.path().empty());
        error_code ec;
        unix_datagram::bind(server.local_endpoint(), ec);
        CHECK(ec == error::address_in_use);

        const auto fill = [&](unix_datagram& socket, error_code& failure) {
            while (!failure.failed())
                socket.send_to("x", server.local_endpoint(), failure);
        };
        {
            const coir::timeout limit{5ms};
            ec.clear();
            CHECK_THROWS_AS(fill(client, ec), coir::timed_out);
        }
        error_code closed;
        coir::fiber sender{[&] { fill(nobody, closed); }};
        until_waiting(sender.get_id());
        nobody.close();
        sender.join();
        CHECK(closed == error::bad_descriptor);
    });
}
