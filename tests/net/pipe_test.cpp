// SPDX-License-Identifier: BSL-1.0
#include "waiting.hpp"

#include <coir/deadline.hpp>
#include <coir/net/pipe.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace coir::net;

TEST_CASE("through a pipe, more than it holds, to its end") {
    const auto through = [] {
        auto [reader, writer] = make_pipe();
        std::vector<char> sent(1'000'000);
        for (std::size_t i = 0; i < sent.size(); ++i)
            sent[i] = static_cast<char>(i * 31 / 7);
        std::vector<char> received(sent.size());
        const auto write = [&] {
            writer.write(sent);
            writer.close();
        };
        if (coir::this_fiber::active())
            coir::fiber{write}.detach();
        std::thread thread{coir::this_fiber::active() ? std::thread{} : std::thread{write}};
        reader.read(received);
        CHECK(received == sent);
        error_code ec;
        reader.read_some(received, ec);
        CHECK(is_eof(ec));
        if (thread.joinable())
            thread.join();
    };
    coir::run(through);
    through(); // on a plain thread
}

TEST_CASE("a pipe that nobody reads is an error, and no signal") {
    coir::run([] {
        auto [reader, writer] = make_pipe();
        reader.close();
        error_code ec;
        CHECK(writer.write("x", ec) == 0);
        CHECK(ec == error::broken_pipe);
        sigset_t pending;
        REQUIRE(::sigpending(&pending) == 0);
        CHECK(sigismember(&pending, SIGPIPE) == 0);
        sigset_t blocked;
        REQUIRE(::pthread_sigmask(SIG_BLOCK, nullptr, &blocked) == 0);
        CHECK(sigismember(&blocked, SIGPIPE) == 0);
        CHECK(code_of([&] { writer.write("x"); }) == std::errc::broken_pipe);
    });
}

TEST_CASE("the ends of a pipe have no flags of ours") {
    auto [reader, writer] = make_pipe();
    CHECK((::fcntl(reader.native_handle(), F_GETFL) & O_NONBLOCK) == 0);
    CHECK((::fcntl(writer.native_handle(), F_GETFL) & O_NONBLOCK) == 0);
    CHECK((::fcntl(writer.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    const auto given = reader.release();
    CHECK(given);
    CHECK_FALSE(reader.is_open());
}

TEST_CASE("close wakes, a timeout and cancellation end a wait, and say how far it came") {
    coir::run([] {
        auto [reader, writer] = make_pipe();
        char data[10];
        error_code ec;
        coir::fiber waiting{[&] { reader.read_some(data, ec); }};
        until_waiting(waiting.get_id());
        reader.close();
        waiting.join();
        CHECK(ec == error::bad_descriptor);

        auto [other, filled] = make_pipe();
        std::size_t done = 0;
        {
            const coir::timeout limit{2ms};
            CHECK_THROWS_AS(other.read_some(data), coir::timed_out);
            CHECK_THROWS_AS(filled.write(std::vector<char>(1'000'000), &done), coir::timed_out);
        }
        CHECK(done > 0);
        std::vector<char> there(done);
        CHECK(other.read(there) == done);
        coir::fiber writer_fiber{[&] { filled.write(std::vector<char>(1'000'000)); }};
        until_waiting(writer_fiber.get_id());
        writer_fiber.cancel();
        writer_fiber.join();
    });
}

TEST_CASE("event and timer descriptors, and files, read like pipes") {
    coir::run([] {
        pipe_reader timer{unique_fd{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)}};
        const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 2'000'000}};
        REQUIRE(::timerfd_settime(timer.native_handle(), 0, &soon, nullptr) == 0);
        std::uint64_t count = 0;
        CHECK(timer.read(boost::asio::buffer(&count, sizeof count)) == sizeof count);
        CHECK(count == 1);

        unique_fd event{::eventfd(0, EFD_CLOEXEC)};
        pipe_writer add{unique_fd{::dup(event.get())}};
        pipe_reader take{std::move(event)};
        coir::fiber adding{[&] {
            const std::uint64_t three = 3;
            add.write(boost::asio::buffer(&three, sizeof three));
        }};
        CHECK(take.read(boost::asio::buffer(&count, sizeof count)) == sizeof count);
        CHECK(count == 3);

        const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        REQUIRE(file >= 0);
        pipe_writer to{unique_fd{::dup(file)}};
        to.write("in a file");
        REQUIRE(::lseek(file, 0, SEEK_SET) == 0);
        pipe_reader from{unique_fd{file}};
        std::string text(9, ' ');
        from.read(text);
        CHECK(text == "in a file");
        error_code ec;
        CHECK(from.read_some(text, ec) == 0);
        CHECK(is_eof(ec));

        pipe_writer full{unique_fd{::open("/dev/full", O_WRONLY | O_CLOEXEC)}};
        CHECK(code_of([&] { full.write("x"); }) == std::errc::no_space_on_device);
    });
}
