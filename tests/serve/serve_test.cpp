// SPDX-License-Identifier: BSL-1.0
#include "loopback.hpp"
#include "waiting.hpp"

#include <coir/channel.hpp>
#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/buffered_reader.hpp>
#include <coir/net/serve.hpp>
#include <coir/net/unix_listener.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace coir::net;

namespace {

void echo(auto stream)
{
    char data[1000];
    error_code ec;
    for (;;) {
        const auto size = stream.read_some(data, ec);
        if (ec.failed())
            return;
        stream.write(std::string_view{data, size});
    }
}

/// Whether the server answers.
bool answers(auto& client)
{
    error_code ec;
    client.write("x", ec);
    char data[1];
    return client.read(data, ec) == 1;
}

/// Until the server has closed the connection.
bool closed(tcp_stream& client)
{
    error_code ec;
    char data[1];
    client.read_some(data, ec);
    return ec.failed();
}

/// `serve` in a fiber, with what it takes to end it.
struct server {
    tcp_listener listener{loopback(), {.backlog = 20'000}};
    tcp_endpoint at = listener.local_endpoint();
    std::stop_source stop;
    serve_report report;
    std::vector<std::string> errors;
    coir::fiber fiber;

    template <class Handler> explicit server(Handler handler, serve_options options = {})
    {
        options.stop = stop.get_token();
        options.on_error = [this](const std::exception_ptr& failure) {
            try {
                std::rethrow_exception(failure);
            } catch (const std::exception& error) {
                errors.emplace_back(error.what());
            } catch (const coir::cancelled& error) {
                errors.emplace_back(error.what());
            }
        };
        fiber = coir::fiber{[this, handler, options] { report = serve(listener, handler, options); }};
    }
    server(const server&) = delete;
    server& operator=(const server&) = delete;
    ~server() { stop.request_stop(); }
    tcp_stream connect() const { return tcp_stream::connect(at); }
    serve_report& end()
    {
        stop.request_stop();
        fiber.join();
        return report;
    }
};

/// As many as may be had: a client of the same process needs one, too.
struct many_descriptors {
    rlimit before{};
    many_descriptors()
    {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
        const rlimit more{.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &more) == 0);
        REQUIRE(before.rlim_max >= 14'000);
    }
    many_descriptors(const many_descriptors&) = delete;
    many_descriptors& operator=(const many_descriptors&) = delete;
    ~many_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before); }
};

} // namespace

TEST_CASE("each connection has a fiber, and a stop lets them come to their end") {
    coir::run([] {
        server service{[](tcp_stream stream) { echo(std::move(stream)); }};
        auto one = service.connect();
        auto two = service.connect();
        CHECK(answers(two));
        CHECK(answers(one));
        service.stop.request_stop();
        while (service.listener.is_open())
            coir::this_fiber::sleep_for(1ms);
        error_code ec;
        tcp_stream::connect(service.at, ec);
        CHECK(ec == error::connection_refused);
        CHECK(answers(one)); // is still served
        one.close();
        two.close();
        const auto& report = service.end();
        CHECK(report.accepted == 2);
        CHECK(report.failed == 0);
        CHECK(report.cancelled == 0);
    });
}

TEST_CASE("what has not ended when the time to drain is over is cancelled, and counted") {
    coir::run([] {
        bool cleaned = false;
        server service{[&](tcp_stream stream) {
                           struct cleaner {
                               bool& done;
                               ~cleaner() { done = true; }
                           } at_end{cleaned};
                           echo(std::move(stream));
                       },
                       {.drain = 5ms}};
        auto client = service.connect();
        CHECK(answers(client));
        CHECK(service.end().cancelled == 1);
        CHECK(cleaned);
        CHECK(closed(client));
    });
}

TEST_CASE("a handler that throws ends its connection, and nothing else") {
    coir::run([] {
        int calls = 0;
        server service{[&](tcp_stream stream) {
            if (++calls == 1)
                throw std::runtime_error{"the first"};
            echo(std::move(stream));
        }};
        auto one = service.connect();
        CHECK(closed(one));
        CHECK(service.errors == std::vector<std::string>{"the first"});
        auto two = service.connect();
        CHECK(answers(two));
    });
    coir::run([] {
        server service{[](tcp_stream stream) {
            char data[1];
            stream.read(data);
            if (data[0] == 't') {
                const coir::timeout limit{1ms};
                coir::this_fiber::sleep_for(1h);
            }
            echo(std::move(stream));
        }};
        auto one = service.connect();
        one.write("t");
        CHECK(closed(one)); // it ran out of its own time
        auto two = service.connect();
        two.set_option(coir::net::socket::linger{true, 0});
        two.close(); // a reset: read throws
        auto three = service.connect();
        CHECK_FALSE(three.write("x-") == 0);
        char data[1];
        CHECK(three.read(data) == 1);
        three.close();
        service.end();
        CHECK(service.report.accepted == 3);
        CHECK(service.report.failed == 2);
        CHECK(service.errors.size() == 2);
    });
}

TEST_CASE("at the limit nothing is accepted, and nobody is refused") {
    coir::run([] {
        int at_once = 0;
        int most = 0;
        server service{[&](tcp_stream stream) {
                           most = std::max(most, ++at_once);
                           echo(std::move(stream));
                           --at_once;
                       },
                       {.connections_max = 3}};
        std::vector<tcp_stream> clients;
        for (int i = 0; i < 10; ++i)
            clients.push_back(service.connect());
        int served = 0;
        coir::fiber_group group;
        for (auto& client : clients)
            group.spawn([&] {
                CHECK(answers(client));
                ++served;
                client.close();
            });
        group.join();
        CHECK(served == 10);
        CHECK(most == 3);
        CHECK(service.end().accepted == 10);
    });
}

TEST_CASE("without descriptors the service goes on when there are some again, and does not spin") {
    coir::run([] {
        server service{[](tcp_stream stream) { echo(std::move(stream)); }};
        std::vector<tcp_stream> clients;
        for (int i = 0; i < 4; ++i)
            clients.push_back(service.connect());
        CHECK(answers(clients[0]));
        CHECK(answers(clients[3]));
        clients.push_back(service.connect());
        CHECK(answers(clients[4]));
        auto late = service.connect();
        CHECK(answers(late));
        // One number is left, for the next client's end; the server has none for its own.
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
        const int last = ::dup(0);
        const rlimit few{.rlim_cur = static_cast<rlim_t>(last) + 1, .rlim_max = before.rlim_max};
        ::close(last);
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
        auto waiting = service.connect();
        while (service.errors.empty())
            coir::this_fiber::sleep_for(1ms);
        CHECK(service.errors.front().find("accept") != std::string::npos);
        clients[1].close(); // ours and, soon, the server's
        CHECK(answers(waiting));
        CHECK(answers(clients[0]));
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
        CHECK(service.errors.size() == 1);
        clients.clear();
        late.close();
        waiting.close();
        CHECK(service.end().accepted == 7);
    });
}

TEST_CASE("10,000 connections that never speak do not keep out one that does") {
    const many_descriptors enough;
    coir::run([] {
        constexpr std::size_t silent = 10'000;
        server service{[](tcp_stream stream) { echo(std::move(stream)); },
                       {.connections_max = silent / 4, .idle_max = 200ms}};
        std::vector<tcp_stream> clients;
        for (std::size_t i = 0; i < silent; ++i)
            clients.push_back(service.connect());
        auto speaker = service.connect();
        CHECK(answers(speaker)); // once those before it have been cut off
        CHECK(answers(speaker));
        speaker.close();
        for (auto& client : clients)
            CHECK(closed(client));
        const auto& report = service.end();
        CHECK(report.accepted == silent + 1);
        CHECK(report.idle == silent);
        CHECK(report.failed == 0);
    });
}

TEST_CASE("who is busy without its peer is not idle") {
    coir::run([] {
        coir::event go_on;
        server service{[&](tcp_stream stream) {
                           go_on.wait();
                           stream.write("done");
                       },
                       {.idle_max = 2ms}};
        auto client = service.connect();
        coir::this_fiber::sleep_for(20ms);
        go_on.set();
        std::string text(4, ' ');
        CHECK(client.read(text) == 4);
        client.close();
        CHECK(service.end().idle == 0);
    });
}

TEST_CASE("cancelling the server cancels its connections, and waits for them") {
    coir::run([] {
        int ended = 0;
        tcp_listener listener{loopback()};
        coir::fiber service{[&] {
            serve(listener, [&](tcp_stream stream) {
                struct count {
                    int& ended;
                    ~count()
                    {
                        const coir::shield slowly;
                        coir::this_fiber::sleep_for(1ms);
                        ++ended;
                    }
                } at_end{ended};
                echo(std::move(stream));
            });
        }};
        std::vector<tcp_stream> clients;
        for (int i = 0; i < 3; ++i) {
            clients.push_back(tcp_stream::connect(listener.local_endpoint()));
            CHECK(answers(clients.back()));
        }
        service.cancel();
        service.join();
        CHECK(ended == 3);
    });
}

TEST_CASE("closing the listener ends the service, and any other error of it is thrown") {
    coir::run([] {
        tcp_listener listener{loopback()};
        serve_report report;
        coir::fiber service{[&] { report = serve(listener, [](tcp_stream stream) { echo(std::move(stream)); }); }};
        auto client = tcp_stream::connect(listener.local_endpoint());
        CHECK(answers(client));
        listener.close();
        client.close();
        service.join();
        CHECK(report.accepted == 1);

        tcp_listener other{loopback()};
        std::error_code code;
        coir::fiber failing{[&] { code = code_of([&] { serve(other, [](tcp_stream) {}); }); }};
        until_waiting(failing.get_id());
        other.shutdown(coir::net::socket::shutdown_receive);
        failing.join();
        CHECK(code == std::errc::invalid_argument);
    });
}

TEST_CASE("Unix sockets, and whatever else accepts") {
    coir::run([] {
        const std::string name = std::string(1, '\0') + "coir-serve-" + std::to_string(::getpid());
        std::stop_source stop;
        serve_report report;
        coir::fiber service{[&] {
            report = serve(unix_listener{{name}}, [](unix_stream stream) { echo(std::move(stream)); },
                           {.stop = stop.get_token()});
        }};
        coir::this_fiber::yield();
        auto client = unix_stream::connect({name});
        CHECK(answers(client));
        client.close();
        stop.request_stop();
        service.join();
        CHECK(report.accepted == 1);
    });
}

TEST_CASE("peers that reset, stall, send a byte at a time and close half") {
    coir::run([] {
        server service{[](tcp_stream stream) {
            buffered_reader lines{stream};
            const coir::timeout limit{1s};
            while (const auto line = lines.read_line())
                stream.write(*line + "!\n");
            stream.write("bye\n");
        }};
        auto reset = service.connect();
        reset.write("half a li");
        reset.set_option(coir::net::socket::linger{true, 0});
        reset.close();
        auto stalls = service.connect();
        stalls.write("and then noth");
        auto slow = service.connect();
        for (const char each : std::string_view{"slowly\n"}) {
            slow.write(std::string_view{&each, 1});
            coir::this_fiber::yield();
        }
        std::string text(8, ' ');
        slow.read(text);
        CHECK(text == "slowly!\n");
        auto half = service.connect();
        half.write("one\ntwo");
        half.shutdown(coir::net::socket::shutdown_send);
        std::string all;
        CHECK(half.read_until(all, "bye\n") > 0);
        CHECK(all == "one!\ntwo!\nbye\n");
        slow.close();
        CHECK(closed(stalls)); // at its timeout
        service.end();
        CHECK(service.report.failed == 2);
    });
}
