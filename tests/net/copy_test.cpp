// SPDX-License-Identifier: BSL-1.0
#include "loopback.hpp"
#include "waiting.hpp"

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/buffered_reader.hpp>
#include <coir/net/copy.hpp>
#include <coir/net/unix_stream.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace coir::net;

namespace {

std::string pattern(std::size_t size)
{
    std::string text(size, ' ');
    for (std::size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>(i * 131 / 17);
    return text;
}

/// Sends `size` bytes in at `source` and expects them at `sink`, while `from` is copied to `to`.
template <class Source, class From, class To, class Sink>
void check_copy(Source source, From from, To to, Sink sink, std::size_t size)
{
    const auto sent = pattern(size);
    coir::fiber_group group;
    group.spawn([&] {
        source.write(sent);
        source.close();
    });
    group.spawn([&] {
        CHECK(copy(from, to) == size);
        to.close();
    });
    std::string received(size, ' ');
    CHECK(sink.read(received) == size);
    CHECK(received == sent);
    char one[1];
    error_code ec;
    CHECK(sink.read_some(one, ec) == 0);
    CHECK(is_eof(ec));
    group.join();
}

constexpr std::size_t sizes[] = {0, 1, 100'000, 3'000'000};

} // namespace

TEST_CASE("a socket is copied to a socket, a pipe and back, whether or not the kernel does it") {
    coir::run([] {
        for (const auto size : sizes) {
            tcp_pair one;
            tcp_pair two;
            check_copy(std::move(one.theirs), std::move(one.ours), std::move(two.ours), std::move(two.theirs), size);
            auto unix_one = make_unix_stream_pair();
            auto unix_two = make_unix_stream_pair();
            check_copy(std::move(unix_one.first), std::move(unix_one.second), std::move(unix_two.first),
                       std::move(unix_two.second), size);
            tcp_pair into_pipe;
            auto pipe = make_pipe();
            check_copy(std::move(into_pipe.theirs), std::move(into_pipe.ours), std::move(pipe.writer),
                       std::move(pipe.reader), size);
            tcp_pair from_pipe;
            auto other = make_pipe();
            check_copy(std::move(other.writer), std::move(other.reader), std::move(from_pipe.ours),
                       std::move(from_pipe.theirs), size);
            auto pipe_one = make_pipe();
            auto pipe_two = make_pipe();
            check_copy(std::move(pipe_one.writer), std::move(pipe_one.reader), std::move(pipe_two.writer),
                       std::move(pipe_two.reader), size);
        }
    });
}

TEST_CASE("with no descriptors left for a pipe, bytes go through a buffer") {
    coir::run([] {
        tcp_pair one;
        tcp_pair two;
        const auto sent = pattern(1'000'000);
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
        const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        std::string received(sent.size(), ' ');
        coir::fiber_group group;
        group.spawn([&] {
            one.theirs.write(sent);
            one.theirs.shutdown(coir::net::socket::shutdown_send);
        });
        group.spawn([&] { two.theirs.read(received); });
        CHECK(copy(one.ours, two.ours) == sent.size());
        group.join();
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
        CHECK(received == sent);
    });
}

TEST_CASE("a buffered reader is copied with what it has read already, and a file too") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        auto [to, sink] = make_unix_stream_pair();
        theirs.write("header\nand the body");
        theirs.close();
        buffered_reader input{ours};
        CHECK(input.read_line() == "header");
        CHECK(copy(input, to) == 12);
        std::string text(12, ' ');
        sink.read(text);
        CHECK(text == "and the body");

        const int number = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        REQUIRE(number >= 0);
        unique_fd file{number};
        const auto content = pattern(400'000);
        REQUIRE(::pwrite(number, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
        pipe_reader from{std::move(file)};
        std::string received(content.size(), ' ');
        coir::fiber reader{[&] { sink.read(received); }};
        CHECK(copy(from, to) == content.size());
        reader.join();
        CHECK(received == content);
    });
}

TEST_CASE("a copy that is cut off says how far it came; a reader that is gone is an error") {
    coir::run([] {
        for (const std::size_t size : {50'000UL, 400'000UL}) {
            tcp_pair one;
            tcp_pair two;
            coir::fiber source{[&] { one.theirs.write(pattern(size)); }};
            std::string received(size, ' ');
            coir::fiber sink{[&] { two.theirs.read(received); }};
            std::size_t done = 0;
            coir::fiber copier{[&] { CHECK_THROWS_AS(copy(one.ours, two.ours, &done), coir::cancelled); }};
            source.join();
            sink.join(); // all has come
            copier.cancel();
            copier.join();
            CHECK(done == size);
        }
        auto from = make_pipe();
        auto to = make_pipe();
        to.reader.close();
        coir::fiber source{[&] {
            error_code ignored;
            from.writer.write(pattern(1'000'000), ignored);
        }};
        CHECK(code_of([&] { copy(from.reader, to.writer); }) == std::errc::broken_pipe);
        from.reader.close();
        source.join();
    });
}

TEST_CASE("the kernel's part of a copy notices a reader that goes, without SIGPIPE") {
    coir::run([] {
        auto from = make_pipe();
        auto to = make_pipe();
        const auto bulk = pattern(bulk_size + 10'000);
        coir::fiber_group group;
        group.spawn([&] {
            error_code ignored;
            from.writer.write(bulk, ignored);
            std::string all(bulk.size(), ' ');
            to.reader.read(all);
            to.reader.close();
            from.writer.write("more", ignored);
        });
        error_code ec;
        CHECK(copy(from.reader, to.writer, ec) == bulk.size());
        CHECK(ec == error::broken_pipe);
        group.join();
    });
}

TEST_CASE("close and cancellation end a copy while the kernel does it") {
    coir::run([] {
        for (const bool by_close : {true, false}) {
            tcp_pair one;
            tcp_pair two;
            const auto bulk = pattern(bulk_size + 10'000);
            error_code ec;
            coir::fiber copier{[&] { copy(one.ours, two.ours, ec); }};
            coir::fiber source{[&] { one.theirs.write(bulk); }};
            std::string all(bulk.size(), ' ');
            two.theirs.read(all);
            CHECK(all == bulk);
            source.join();
            until_waiting(copier.get_id());
            if (by_close)
                one.ours.close();
            else
                copier.cancel();
            copier.join();
            CHECK((ec == error::bad_descriptor) == by_close);
        }
    });
}

TEST_CASE("a relay passes on both directions, and the end of each") {
    coir::run([] {
        tcp_pair client;
        tcp_pair server;
        relay_report report;
        coir::fiber proxy{[&] { report = relay(client.ours, server.ours); }};
        client.theirs.write("request");
        client.theirs.shutdown(coir::net::socket::shutdown_send);
        std::string request(100, ' ');
        error_code ec;
        CHECK(server.theirs.read(request, ec) == 7);
        CHECK(is_eof(ec));
        const auto answer = pattern(500'000);
        coir::fiber answering{[&] {
            server.theirs.write(answer);
            server.theirs.close();
        }};
        std::string received(answer.size(), ' ');
        CHECK(client.theirs.read(received) == answer.size());
        CHECK(received == answer);
        proxy.join();
        answering.join();
        CHECK(report.forth == 7);
        CHECK(report.back == answer.size());
    });
}

TEST_CASE("an error ends both directions of a relay, and so does cancellation") {
    coir::run([] {
        tcp_pair client;
        tcp_pair server;
        error_code ec;
        coir::fiber proxy{[&] { relay(client.ours, server.ours, ec); }};
        until_waiting(proxy.get_id());
        client.theirs.set_option(coir::net::socket::linger{true, 0});
        client.theirs.close();
        proxy.join();
        CHECK(ec == error::connection_reset);

        tcp_pair one;
        tcp_pair two;
        coir::fiber cancelled{[&] { relay(one.ours, two.ours); }};
        until_waiting(cancelled.get_id());
        cancelled.cancel();
        cancelled.join();
    });
}

TEST_CASE("a socket that was copied is given away without O_NONBLOCK") {
    coir::run([] {
        tcp_pair one;
        tcp_pair two;
        const auto bulk = pattern(2 * bulk_size);
        coir::fiber copier{[&] { copy(one.ours, two.ours); }};
        coir::fiber source{[&] {
            one.theirs.write(bulk);
            one.theirs.close();
        }};
        std::string all(bulk.size(), ' ');
        two.theirs.read(all);
        copier.join();
        const auto given_away = two.ours.release();
        CHECK((::fcntl(given_away.get(), F_GETFL) & O_NONBLOCK) == 0);
    });
}
