// SPDX-License-Identifier: BSL-1.0
#include "loopback.hpp"
#include "waiting.hpp"

#include <coir/deadline.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/readiness.hpp>
#include <coir/net/tcp_listener.hpp>
#include <coir/net/tcp_stream.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/unicast.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

using namespace std::chrono_literals;
using namespace coir::net;
namespace asio = boost::asio;

namespace {

std::vector<unsigned char> counted(std::size_t size)
{
    std::vector<unsigned char> bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<unsigned char>(i * 7 + i / 256);
    return bytes;
}

/// Small buffers, so that a transfer fills them soon.
void narrow(tcp_stream& stream)
{
    stream.set_option(coir::net::socket::send_buffer_size{4096});
    stream.set_option(coir::net::socket::receive_buffer_size{4096});
}

/// The connection breaks down: the peer gets a reset (SO_LINGER of 0, socket(7)).
void reset(tcp_stream& stream)
{
    stream.set_option(coir::net::socket::linger{true, 0});
    stream.close();
}

} // namespace

TEST_CASE("a message goes there and back") {
    coir::run([] {
        tcp_pair pair;
        coir::fiber echo{[&] {
            char data[100];
            const auto size = pair.theirs.read_some(data);
            pair.theirs.write(std::string_view{data, size});
        }};
        pair.ours.write("hello");
        std::string answer(5, ' ');
        CHECK(pair.ours.read(answer) == 5);
        CHECK(answer == "hello");
    });
}

TEST_CASE("on a plain thread the same calls block it") {
    tcp_pair pair;
    std::thread peer{[&] {
        std::array<char, 3> data;
        pair.theirs.read(data);
        pair.theirs.write(data);
    }};
    pair.ours.write("abc");
    std::array<char, 3> answer;
    CHECK(pair.ours.read(answer) == 3);
    CHECK(std::string_view{answer.data(), 3} == "abc");
    peer.join();
}

TEST_CASE("much more than the buffers hold arrives whole, whatever the sizes of the reads") {
    coir::run([] {
        const auto sent = counted(3'000'000);
        for (const std::size_t step : {1UL << 20, 8192UL, 1000UL}) {
            tcp_pair pair;
            coir::fiber writer{[&] {
                CHECK(pair.theirs.write(sent) == sent.size());
                pair.theirs.shutdown(coir::net::socket::shutdown_send);
            }};
            std::vector<unsigned char> received;
            std::vector<unsigned char> piece(step);
            error_code ec;
            while (!ec.failed()) {
                const auto size = pair.ours.read_some(piece, ec);
                received.insert(received.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(size));
            }
            CHECK(is_eof(ec));
            CHECK(received == sent);
        }
    });
}

TEST_CASE("scattered and gathered, from and to what holds bytes") {
    coir::run([] {
        tcp_pair pair;
        const std::string one = "one ";
        const std::array<char, 4> two{'t', 'w', 'o', ' '};
        const std::vector<asio::const_buffer> parts{asio::buffer(one), asio::buffer(two), asio::buffer("three", 5)};
        CHECK(pair.ours.write(parts) == 13);
        CHECK(pair.ours.write(std::string{" four"}) == 5);
        CHECK(pair.ours.write(std::as_bytes(std::span{two})) == 4);
        CHECK(pair.ours.write(std::vector<asio::const_buffer>(20, asio::buffer("x", 1))) == 20);
        CHECK(pair.ours.write("") == 0);
        CHECK(pair.ours.write_some(std::array<asio::const_buffer, 2>{}) == 0);

        char first[2];
        std::string second(11, ' ');
        std::array<std::byte, 9> third{};
        std::vector<asio::mutable_buffer> into{asio::buffer(first), asio::buffer(second), asio::buffer(third)};
        CHECK(pair.theirs.read(into) == 22);
        CHECK(std::string_view{first, 2} == "on");
        CHECK(second == "e two three");
        CHECK(static_cast<char>(third[8]) == ' ');
        std::string rest(20, ' ');
        CHECK(pair.theirs.read(std::span{rest}) == 20);
        CHECK(rest == std::string(20, 'x'));
        CHECK(pair.theirs.read_some(std::span<std::byte>{}) == 0);
    });
}

TEST_CASE("the end of the stream is an error, and what came before it is not lost") {
    coir::run([] {
        tcp_pair pair;
        pair.theirs.write("abc");
        pair.theirs.shutdown(coir::net::socket::shutdown_send);
        char data[10];
        error_code ec;
        std::size_t done = 99;
        CHECK(pair.ours.read(data, ec, &done) == 3);
        CHECK(ec == error::eof);
        CHECK(done == 3);
        const auto code = code_of([&] { pair.ours.read_some(data); });
        CHECK(is_eof(code));
        CHECK_FALSE(is_eof(std::make_error_code(std::errc::io_error)));
        try {
            pair.ours.read(data);
        } catch (const std::system_error& failure) {
            CHECK(std::string_view{failure.what()}.find("coir::net: read") != std::string_view::npos);
        }
        // The other half goes on.
        pair.ours.write("still here");
        std::string text(10, ' ');
        pair.theirs.read(text);
        CHECK(text == "still here");
    });
}

TEST_CASE("a byte at a time, and the end between two reads") {
    coir::run([] {
        tcp_pair pair;
        coir::fiber peer{[&] {
            for (const char each : std::string_view{"slow"}) {
                pair.theirs.write_some(std::string_view{&each, 1});
                coir::this_fiber::yield();
            }
            pair.theirs.close();
        }};
        std::string text;
        char data[100];
        error_code ec;
        for (;;) {
            const auto size = pair.ours.read_some(data, ec);
            if (ec.failed())
                break;
            text.append(data, size);
            peer.join_for(1ms); // so that the next byte, or the end, comes before the next read
        }
        CHECK(text == "slow");
        CHECK(is_eof(ec));
    });
}

TEST_CASE("what arrives between two reads is not lost, seen by the hub or not") {
    coir::run([] {
        tcp_pair pair;
        char data[100];
        // So that the descriptor is watched, and every read is shorter than its buffer.
        coir::fiber first{[&] { pair.theirs.write("0"); }};
        CHECK(pair.ours.read_some(data) == 1);
        for (int round = 0; round < 200; ++round) {
            pair.theirs.write("1");
            if (round % 2 == 0)
                coir::this_fiber::sleep_for(100us); // the hub takes the event
            CHECK(pair.ours.read_some(data) == 1);
            if (round % 3 == 0) {
                pair.theirs.write("2");
                if (round % 2 == 0)
                    coir::this_fiber::sleep_for(100us);
                CHECK(pair.ours.read_some(data) == 1);
            }
        }
        first.join();
    });
}

TEST_CASE("urgent data ends a read early, and the rest is not lost") {
    coir::run([] {
        tcp_pair pair;
        char data[100];
        coir::fiber first{[&] { pair.theirs.write("0"); }};
        CHECK(pair.ours.read_some(data) == 1);
        REQUIRE(::send(pair.theirs.native_handle(), "ab!", 3, MSG_OOB) == 3);
        pair.theirs.write("cd");
        coir::this_fiber::sleep_for(1ms); // all of it has been reported
        std::string text;
        while (text.size() < 4)
            text.append(data, pair.ours.read_some(data));
        CHECK(text == "abcd");
    });
}

TEST_CASE("a reset is an error for reader and writer") {
    coir::run([] {
        tcp_pair pair;
        error_code ec;
        char data[10];
        coir::fiber reader{[&] { pair.ours.read_some(data, ec); }};
        until_waiting(reader.get_id());
        reset(pair.theirs);
        reader.join();
        CHECK(ec == error::connection_reset);
        while (!ec.failed() || ec == error::connection_reset)
            pair.ours.write("x", ec);
        CHECK(ec == error::broken_pipe); // and no SIGPIPE
    });
}

TEST_CASE("a reset after the data, reported before the data is read") {
    coir::run([] {
        tcp_pair pair;
        char data[100];
        coir::fiber first{[&] { pair.theirs.write("0"); }};
        CHECK(pair.ours.read_some(data) == 1);
        pair.theirs.write("x");
        coir::this_fiber::sleep_for(1ms);
        CHECK(pair.ours.read_some(data) == 1);
        reset(pair.theirs);
        coir::this_fiber::sleep_for(1ms);
        error_code ec;
        pair.ours.read_some(data, ec);
        CHECK(ec == error::connection_reset);
        pair.ours.read_some(data, ec);
        CHECK(is_eof(ec));
    });
}

TEST_CASE("a timeout cuts off a peer that stalls, and says how far a composed transfer had come") {
    coir::run([] {
        tcp_pair pair;
        narrow(pair.ours);
        narrow(pair.theirs);
        char data[10];
        error_code ec;
        {
            const coir::timeout limit{2ms};
            CHECK_THROWS_AS(pair.ours.read_some(data, ec), coir::timed_out);
            CHECK_THROWS_AS(pair.ours.read_some(data), coir::timed_out);
        }
        pair.theirs.write("abc");
        std::size_t done = 0;
        {
            const coir::timeout limit{2ms};
            CHECK_THROWS_AS(pair.ours.read(data, &done), coir::timed_out);
        }
        CHECK(done == 3);
        const auto much = counted(10'000'000);
        {
            const coir::timeout limit{5ms};
            CHECK_THROWS_AS(pair.ours.write(much, ec, &done), coir::timed_out);
        }
        CHECK(done > 0);
        CHECK(done < much.size());
        // All of that is there, and the stream goes on from it.
        std::vector<unsigned char> received(done);
        CHECK(pair.theirs.read(received) == done);
        CHECK(std::equal(received.begin(), received.end(), much.begin()));
        pair.ours.write("z");
        CHECK(pair.theirs.read_some(data) == 1);
        CHECK(data[0] == 'z');
    });
}

TEST_CASE("cancellation ends a read and a write, and takes nothing away") {
    coir::run([] {
        tcp_pair pair;
        char data[10];
        coir::fiber reader{[&] {
            pair.ours.read(data);
            FAIL_CHECK("cancelled, and went on");
        }};
        until_waiting(reader.get_id());
        reader.cancel();
        reader.join();
        pair.theirs.write("x");
        CHECK(pair.ours.read_some(data) == 1);

        // Cancelled already, but there is something: it is read.
        pair.theirs.write("y");
        std::size_t size = 0;
        coir::fiber late{[&] {
            CHECK_THROWS_AS(coir::this_fiber::sleep_for(1h), coir::cancelled);
            pollfd one{.fd = pair.ours.native_handle(), .events = POLLIN, .revents = 0};
            REQUIRE(::poll(&one, 1, -1) == 1);
            CHECK_THROWS_AS(pair.ours.read(data, &size), coir::cancelled);
        }};
        until_waiting(late.get_id());
        late.cancel();
        late.join();
        CHECK(size <= 1);
        if (size == 0)
            CHECK(pair.ours.read_some(data) == 1);
        CHECK(data[0] == 'y');
    });
}

TEST_CASE("close wakes those who wait, in both directions, and the number may be used again at once") {
    coir::run([] {
        tcp_pair pair;
        narrow(pair.ours);
        const int number = pair.ours.native_handle();
        error_code read_error;
        error_code write_error;
        char data[10];
        coir::fiber reader{[&] { pair.ours.read_some(data, read_error); }};
        coir::fiber writer{[&] { pair.ours.write(counted(30'000'000), write_error); }};
        until_waiting(reader.get_id());
        until_waiting(writer.get_id());
        pair.ours.close();
        CHECK_FALSE(pair.ours.is_open());
        tcp_pair next; // takes the number, before the two have run
        const bool reused = next.ours.native_handle() == number || next.theirs.native_handle() == number;
        next.ours.write("for another");
        next.theirs.write("for another");
        reader.join();
        writer.join();
        CHECK(read_error == error::bad_descriptor);
        CHECK(write_error == error::bad_descriptor);
        CHECK(reused);
        std::string text(11, ' ');
        next.ours.read(text);
        CHECK(text == "for another");
        CHECK(code_of([&] { pair.ours.read_some(data); }) == std::errc::bad_file_descriptor);
        pair.ours.close();
    });
}

TEST_CASE("closed after the reader was woken and before it ran") {
    coir::run([] {
        tcp_pair pair;
        const int number = pair.ours.native_handle();
        error_code ec;
        char data[10];
        std::vector<tcp_pair> next;
        coir::fiber closer{[&] { // one event wakes both, and this one first
            CHECK(wait_ready(number, POLLIN) == wait_status::ready);
            pair.ours.close();
            next.resize(1);
            next.front().ours.write("x");
            next.front().theirs.write("x");
        }};
        coir::fiber reader{[&] { pair.ours.read_some(data, ec); }};
        until_waiting(reader.get_id());
        pair.theirs.write("x");
        reader.join();
        closer.join();
        CHECK(ec == error::bad_descriptor);
        CHECK((next.front().ours.native_handle() == number || next.front().theirs.native_handle() == number));
        CHECK(next.front().ours.read_some(data) == 1);
        CHECK(next.front().theirs.read_some(data) == 1);
    });
}

TEST_CASE("two fibers use the two directions at once") {
    coir::run([] {
        tcp_pair pair;
        const auto sent = counted(2'000'000);
        std::vector<unsigned char> one(sent.size());
        std::vector<unsigned char> two(sent.size());
        coir::fiber_group group;
        group.spawn([&] { pair.ours.write(sent); });
        group.spawn([&] { pair.theirs.write(sent); });
        group.spawn([&] { pair.ours.read(one); });
        group.spawn([&] { pair.theirs.read(two); });
        group.join();
        CHECK(one == sent);
        CHECK(two == sent);
    });
}

TEST_CASE("the stream may move to another hub between two reads") {
    tcp_pair pair;
    constexpr int rounds = 50;
    char data[100];
    std::thread peer{[&] {
        char answer[100];
        for (int i = 0; i < 4 * rounds; ++i) {
            pair.theirs.write("1");
            pair.theirs.read_some(answer);
        }
    }};
    coir::runtime hubs{{.hubs = 2}};
    coir::run_in(hubs, [&] {
        for (int i = 0; i < 2 * rounds; ++i) {
            coir::fiber other{{.on = coir::placement::any_hub}, [&] {
                                  for (int twice = 0; twice < 2; ++twice) {
                                      CHECK(pair.ours.read_some(data) == 1);
                                      pair.ours.write("2");
                                  }
                              }};
            other.join();
        }
    });
    peer.join();
}

TEST_CASE("connect says why it failed, and can be cut off") {
    coir::run([] {
        tcp_endpoint nobody;
        {
            const tcp_listener gone{loopback()};
            nobody = gone.local_endpoint();
        }
        error_code ec;
        auto stream = tcp_stream::connect(nobody, ec);
        CHECK(ec == error::connection_refused);
        CHECK_FALSE(stream.is_open());
        CHECK(code_of([&] { tcp_stream::connect(nobody); }) == std::errc::connection_refused);

        // A listener whose backlog is full answers nobody.
        const tcp_listener full{loopback(), {.backlog = 0}};
        const auto first = tcp_stream::connect(full.local_endpoint());
        std::vector<tcp_stream> more;
        const coir::timeout limit{20ms};
        CHECK_THROWS_AS(
            [&] {
                for (;;)
                    more.push_back(tcp_stream::connect(full.local_endpoint()));
            }(),
            coir::timed_out);
    });
}

TEST_CASE("endpoints, options and flags") {
    coir::run([] {
        tcp_listener listener{loopback()};
        const auto at = listener.local_endpoint();
        CHECK(at.port() != 0);
        auto stream = tcp_stream::connect(at, tcp_endpoint{make_address("127.0.0.2"), 0});
        tcp_endpoint from;
        auto accepted = listener.accept(from);
        CHECK(from == stream.local_endpoint());
        CHECK(from.address() == make_address("127.0.0.2"));
        CHECK(stream.remote_endpoint() == at);
        CHECK(accepted.local_endpoint() == at);
        CHECK(accepted.remote_endpoint() == from);

        for (auto* each : {&stream, &accepted}) {
            tcp_stream::no_delay no_delay;
            each->get_option(no_delay);
            CHECK(no_delay.value());
            each->set_option(tcp_stream::no_delay{false});
            each->get_option(no_delay);
            CHECK_FALSE(no_delay.value());
            each->set_option(coir::net::socket::keep_alive{true});
            each->set_option(asio::ip::unicast::hops{7}); // its number depends on the family
            asio::ip::unicast::hops hops;
            each->get_option(hops);
            CHECK(hops.value() == 7);
            CHECK((::fcntl(each->native_handle(), F_GETFL) & O_NONBLOCK) == 0);
            CHECK((::fcntl(each->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
        }
        CHECK((::fcntl(listener.native_handle(), F_GETFL) & O_NONBLOCK) != 0);
        const auto given_away = listener.release();
        CHECK((::fcntl(given_away.get(), F_GETFL) & O_NONBLOCK) == 0);
        CHECK_FALSE(listener.is_open());

        const tcp_stream not_open;
        error_code ec;
        CHECK(not_open.local_endpoint(ec) == tcp_endpoint{});
        CHECK(ec == error::bad_descriptor);
        CHECK(code_of([&] { static_cast<void>(not_open.remote_endpoint()); }) == std::errc::bad_file_descriptor);
    });
}

TEST_CASE("read_until finds its delimiter wherever it is cut, and keeps what is behind it") {
    coir::run([] {
        tcp_pair pair;
        coir::fiber peer{[&] {
            for (const std::string_view each : {"first\r", "\nsec", "ond\r\nthi", "rd"}) {
                pair.theirs.write(each);
                coir::this_fiber::sleep_for(1ms);
            }
            pair.theirs.close();
        }};
        std::string text;
        CHECK(pair.ours.read_until(text, "\r\n") == 7);
        CHECK(text.substr(0, 7) == "first\r\n");
        text.erase(0, 7);
        CHECK(pair.ours.read_until(text, "\r\n") == 8);
        CHECK(text.substr(0, 8) == "second\r\n");
        text.erase(0, 8);
        error_code ec;
        CHECK(pair.ours.read_until(text, "\r\n", 100, ec) == 0);
        CHECK(is_eof(ec));
        CHECK(text == "third");
        peer.join();

        tcp_pair other;
        other.theirs.write("no end of it");
        text.clear();
        CHECK(other.ours.read_until(text, "\n", 5, ec) == 0);
        CHECK(ec == error::not_found);
        CHECK(text == "no en");
        {
            const coir::timeout limit{2ms};
            CHECK_THROWS_AS(other.ours.read_until(text, "\n"), coir::timed_out);
        }
        CHECK(text == "no end of it");
    });
}

TEST_CASE("Asio's algorithms work over it") {
    coir::run([] {
        tcp_pair pair;
        asio::write(pair.ours, asio::buffer("line one\nline two\n", 18));
        std::string text;
        const auto size = asio::read_until(pair.theirs, asio::dynamic_buffer(text), '\n');
        CHECK(text.substr(0, size) == "line one\n");
        pair.ours.close();
        error_code ec;
        char rest[100];
        asio::read(pair.theirs, asio::buffer(rest), ec);
        CHECK(ec == asio::error::eof);
        CHECK(pair.theirs.get_executor() == pair.theirs.get_executor());
    });
    tcp_pair pair; // on a plain thread, too
    asio::write(pair.ours, asio::buffer("x", 1));
    char one;
    CHECK(asio::read(pair.theirs, asio::buffer(&one, 1)) == 1);
    CHECK(pair.ours.get_executor() == pair.ours.get_executor());
}

TEST_CASE("in virtual time there is nothing to wait for, and it says so") {
    tcp_pair pair;
    coir::testing::run([&] {
        char data[10];
        CHECK(code_of([&] { pair.ours.read_some(data); }) == std::errc::operation_not_supported);
        pair.theirs.write("x");
        CHECK(pair.ours.read_some(data) == 1);
    });
}
