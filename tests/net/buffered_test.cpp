// SPDX-License-Identifier: BSL-1.0
#include "waiting.hpp"

#include <coir/deadline.hpp>
#include <coir/net/buffered_reader.hpp>
#include <coir/net/buffered_writer.hpp>
#include <coir/net/unix_stream.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

using namespace std::chrono_literals;
using namespace coir::net;
namespace asio = boost::asio;

TEST_CASE("lines, with either end, the last one without") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        buffered_reader input{ours, 8};
        theirs.write("one\r\ntwo\n\n" + std::string(1000, 'x') + "\nlast\r");
        theirs.close();
        CHECK(input.read_line() == "one");
        CHECK(input.read_line() == "two");
        CHECK(input.read_line() == "");
        CHECK(input.read_line() == std::string(1000, 'x'));
        CHECK(input.read_line() == "last\r");
        CHECK(input.read_line() == std::nullopt);
        std::string line;
        error_code ec;
        CHECK_FALSE(input.read_line(line, ec));
        CHECK(is_eof(ec));
    });
}

TEST_CASE("a line that is too long is refused, and can be taken otherwise") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        buffered_reader input{ours, 4};
        theirs.write("0123456789\nnext\n");
        std::string line;
        error_code ec;
        CHECK_FALSE(input.read_line(line, ec, 9));
        CHECK(ec == error::not_found);
        CHECK(code_of([&] { input.read_line(9); }) == std::error_code{error::make_error_code(error::not_found)});
        CHECK(input.read_line(10) == "0123456789");
        CHECK(input.read_line() == "next");
    });
}

TEST_CASE("records, and looking ahead, take all or nothing") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        buffered_reader input{ours, 4};
        theirs.write("head");
        CHECK(input.peek(2).substr(0, 2) == "he");
        {
            const coir::timeout limit{1ms};
            CHECK_THROWS_AS(input.read_exactly(10), coir::timed_out);
            CHECK_THROWS_AS(input.read_line(), coir::timed_out);
        }
        CHECK(input.buffered() == "head");
        theirs.write(" and body");
        CHECK(input.read_exactly(13) == "head and body");
        theirs.write("ab");
        theirs.close();
        error_code ec;
        CHECK(input.read_exactly(3, ec).empty());
        CHECK(is_eof(ec));
        CHECK(input.peek(3, ec) == "ab");
        CHECK(code_of([&] { input.peek(3); }) == std::error_code{error::make_error_code(error::eof)});
        input.consume(1);
        CHECK(input.read_exactly(1) == "b");
    });
}

TEST_CASE("it is a stream itself, and large reads pass it by") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        buffered_reader input{ours, 16};
        theirs.write("first line\nthe rest of it, which is longer than the buffer");
        theirs.close();
        CHECK(input.read_line() == "first line");
        std::array<char, 3> head{};
        std::string tail(100, ' ');
        const std::vector<asio::mutable_buffer> parts{asio::buffer(head), asio::buffer(tail)};
        error_code ec;
        CHECK(input.read(parts, ec) == 47);
        CHECK(is_eof(ec));
        CHECK(std::string_view{head.data(), 3} == "the");
        CHECK(tail.substr(0, 44) == " rest of it, which is longer than the buffer");
    });
}

TEST_CASE("Asio's read_until over it") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        buffered_reader input{ours};
        theirs.write("a;b");
        std::string text;
        CHECK(asio::read_until(input, asio::dynamic_buffer(text), ';') == 2);
        CHECK(&input.next_layer() == &ours);
    });
}

TEST_CASE("small writes leave together, large ones at once, in order") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        buffered_writer output{ours, 10};
        output.write("abc");
        output.write("def");
        CHECK(output.buffered() == 6);
        std::array<char, 100> data{};
        {
            const coir::timeout limit{1ms};
            CHECK_THROWS_AS(theirs.read_some(data), coir::timed_out);
        }
        output.write("ghijk"); // does not fit with the others
        CHECK(theirs.read_some(data) == 6);
        CHECK(output.buffered() == 5);
        output.write(std::string(20, 'x')); // never fits
        CHECK(output.buffered() == 0);
        std::string text(25, ' ');
        theirs.read(text);
        CHECK(text == "ghijk" + std::string(20, 'x'));
        asio::write(output, std::array{asio::buffer("1", 1), asio::buffer("2", 1)});
        output.flush();
        CHECK(theirs.read_some(data) == 2);
    });
}

TEST_CASE("a flush that is cut off goes on where it was") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        std::string sent(2'000'000, ' ');
        for (std::size_t i = 0; i < sent.size(); ++i)
            sent[i] = static_cast<char>('a' + i % 23);
        buffered_writer output{ours, sent.size()};
        output.write(sent);
        {
            const coir::timeout limit{2ms};
            CHECK_THROWS_AS(output.flush(), coir::timed_out);
        }
        CHECK(output.buffered() > 0);
        CHECK(output.buffered() < sent.size());
        std::string received(sent.size(), ' ');
        coir::fiber reader{[&] { theirs.read(received); }};
        output.flush();
        reader.join();
        CHECK(received == sent);
        theirs.close();
        output.write("x");
        CHECK(code_of([&] { output.flush(); }) == std::errc::broken_pipe);
        CHECK(output.buffered() == 1);
    });
}
