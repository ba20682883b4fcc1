// SPDX-License-Identifier: BSL-1.0
// A fiber whose transfers never have to wait gives way all the same.
#include "loopback.hpp"

#include <coir/net/pipe.hpp>
#include <coir/net/udp_socket.hpp>
#include <coir/net/unix_stream.hpp>

#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <string_view>

using namespace std::chrono_literals;

namespace {

constexpr std::string_view message = "0123456789abcdef";

/// Does `twice`, two transfers, until other fibers have run: one that is ready, one that waits for a descriptor, one
/// that sleeps.
template <class Twice> void check_gives_way(Twice twice)
{
    auto [reader, writer] = coir::net::make_pipe();
    bool ran = false;
    bool woken = false;
    bool slept = false;
    const coir::fiber other{[&] {
        ran = true;
        char byte;
        woken = reader.read_some(std::span{&byte, 1}) == 1;
    }};
    const coir::fiber sleeper{[&] {
        coir::this_fiber::sleep_for(1us);
        slept = true;
    }};
    int done = 0;
    for (; !ran && done < 10'000; ++done)
        twice();
    CHECK(done <= 64);
    writer.write(std::string_view{"x"});
    for (done = 0; !woken && done < 10'000; ++done)
        twice();
    CHECK(done <= 1024);
    for (done = 0; !slept && done < 1'000'000; ++done)
        twice();
    CHECK(slept);
}

template <class Stream> void echo(Stream& a, Stream& b)
{
    char data[message.size()];
    a.write(message);
    REQUIRE(b.read_some(data) == message.size());
}

} // namespace

TEST_CASE("a fiber that echoes to itself over a socket gives way") {
    coir::run([] {
        auto [a, b] = coir::net::make_unix_stream_pair();
        check_gives_way([&] { echo(a, b); });
    });
}

TEST_CASE("a fiber that echoes to itself through a pipe gives way") {
    coir::run([] {
        auto [reader, writer] = coir::net::make_pipe();
        check_gives_way([&] {
            char data[message.size()];
            writer.write(message);
            REQUIRE(reader.read_some(data) == message.size());
        });
    });
}

TEST_CASE("a fiber that reads a flood gives way, and so does who sends datagrams") {
    coir::run([] {
        auto [a, b] = coir::net::make_unix_stream_pair();
        check_gives_way([&] {
            a.write(message);
            for (std::size_t left = message.size(); left > 0; left -= message.size() / 2) {
                char data[message.size() / 2];
                REQUIRE(b.read_some(data) == sizeof data);
            }
        });
        coir::net::udp_socket socket{{boost::asio::ip::address_v4::loopback(), 0}};
        const auto self = socket.local_endpoint();
        check_gives_way([&] {
            char data[message.size()];
            socket.send_to(message, self);
            REQUIRE(socket.receive_from(data).size == message.size());
        });
    });
}
