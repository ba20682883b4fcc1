// SPDX-License-Identifier: BSL-1.0
#include "waiting.hpp"

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/pipe.hpp>
#include <coir/net/unix_listener.hpp>
#include <coir/net/unix_stream.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace coir::net;

namespace {

struct directory {
    std::filesystem::path path;
    directory()
    {
        std::string name = (std::filesystem::temp_directory_path() / "coir-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()));
        path = name;
    }
    directory(const directory&) = delete;
    directory& operator=(const directory&) = delete;
    ~directory() { std::filesystem::remove_all(path); }
};

} // namespace

TEST_CASE("a Unix socket at a path, which goes with its listener") {
    coir::run([] {
        const directory place;
        const auto path = (place.path / "socket").string();
        {
            unix_listener listener{{path}};
            CHECK(std::filesystem::is_socket(path));
            CHECK(listener.local_endpoint().path() == path);
            CHECK(code_of([&] { unix_listener{{path}}; }) == std::errc::address_in_use);
            CHECK(std::filesystem::is_socket(path));
            auto client = unix_stream::connect({path});
            auto server = listener.accept();
            client.write("hello");
            std::string text(5, ' ');
            server.read(text);
            CHECK(text == "hello");
            CHECK(client.remote_endpoint().path() == path);
            CHECK(server.peer_credentials().pid == ::getpid());
            CHECK(client.peer_credentials().uid == ::getuid());
            auto moved = std::move(listener);
            CHECK(std::filesystem::is_socket(path));
            moved.close();
            CHECK_FALSE(std::filesystem::exists(path));
        }
        {
            const unix_listener stays{{path}, {.unlink_on_close = false}};
        }
        CHECK(std::filesystem::is_socket(path));
        error_code ec;
        unix_stream::connect({path}, ec);
        CHECK(ec == error::connection_refused);
        unix_stream::connect({path + "-not"}, ec);
        CHECK(ec == boost::system::errc::no_such_file_or_directory);
    });
}

TEST_CASE("names in the abstract namespace") {
    coir::run([] {
        const std::string name = std::string(1, '\0') + "coir-test-" + std::to_string(::getpid());
        unix_listener listener{{name}};
        auto client = unix_stream::connect({name});
        auto server = listener.accept();
        server.write("x");
        char data[10];
        CHECK(client.read_some(data) == 1);
    });
}

TEST_CASE("connect waits while the backlog is full") {
    coir::run([] {
        const std::string name = std::string(1, '\0') + "coir-full-" + std::to_string(::getpid());
        unix_listener listener{{name}, {.backlog = 0}};
        const auto first = unix_stream::connect({name});
        {
            const coir::timeout limit{5ms};
            CHECK_THROWS_AS(unix_stream::connect({name}), coir::timed_out);
        }
        coir::fiber second{[&] { unix_stream::connect({name}).write("x"); }};
        until_waiting(second.get_id());
        listener.accept();
        auto server = listener.accept();
        char data[10];
        CHECK(server.read_some(data) == 1);
    });
}

TEST_CASE("descriptors are passed, and stay what they are") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        auto [reader, writer] = make_pipe();
        unique_fd received;
        coir::fiber receiver{[&] { received = theirs.receive_fd(); }};
        until_waiting(receiver.get_id());
        ours.send_fd(writer.native_handle());
        writer.close();
        receiver.join();
        CHECK((::fcntl(received.get(), F_GETFD) & FD_CLOEXEC) != 0);
        pipe_writer passed{std::move(received)};
        passed.write("through");
        passed.close();
        std::string text(7, ' ');
        reader.read(text);
        CHECK(text == "through");

        error_code ec;
        ours.write("x");
        CHECK_FALSE(theirs.receive_fd(ec));
        CHECK(ec == boost::system::errc::bad_message);
        ours.close();
        CHECK_FALSE(theirs.receive_fd(ec));
        CHECK(is_eof(ec));
        CHECK(code_of([&] { theirs.send_fd(0); }) == std::errc::broken_pipe);
    });
}

TEST_CASE("a read ends where a descriptor was passed, and goes on behind it") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        char data[100];
        coir::fiber first{[&] { ours.write("0"); }};
        CHECK(theirs.read_some(data) == 1);
        ours.write("a");
        ours.send_fd(0);
        ours.write("b");
        coir::this_fiber::sleep_for(1ms);
        CHECK(theirs.read_some(data) >= 1);
        std::size_t rest = 0;
        while (rest < 1)
            rest += theirs.read_some(data);
        CHECK(data[rest - 1] == 'b');
    });
}

TEST_CASE("close wakes, a timeout and cancellation end a wait") {
    coir::run([] {
        auto [ours, theirs] = make_unix_stream_pair();
        char data[10];
        error_code ec;
        coir::fiber reader{[&] { ours.read_some(data, ec); }};
        until_waiting(reader.get_id());
        ours.close();
        reader.join();
        CHECK(ec == error::bad_descriptor);
        theirs.read_some(data, ec);
        CHECK(is_eof(ec));

        auto [one, two] = make_unix_stream_pair();
        {
            const coir::timeout limit{1ms};
            CHECK_THROWS_AS(one.read_some(data), coir::timed_out);
            CHECK_THROWS_AS(one.write(std::vector<char>(10'000'000)), coir::timed_out);
        }
        coir::fiber waiting{[&] { two.write(std::vector<char>(10'000'000)); }};
        until_waiting(waiting.get_id());
        waiting.cancel();
        waiting.join();
    });
}
