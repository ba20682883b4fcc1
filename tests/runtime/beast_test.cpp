// SPDX-License-Identifier: BSL-1.0
// use_fiber over Boost.Beast: HTTP against nginx, WebSockets against itself.
#include "server.hpp"

#include <doctest/doctest.h>

#include <coir/deadline.hpp>
#include <coir/fiber.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/runtime.hpp>
#include <coir/use_fiber.hpp>

#include <string>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using asio::ip::tcp;
using namespace coir;
using namespace std::chrono_literals;
using boost::system::error_code;

namespace {

/// An echo over WebSocket, both ends on streams of the given executor.
template <class Executor> void echo_over_websocket(const Executor& executor)
{
    tcp::acceptor acceptor{this_hub_io_context(), {asio::ip::address_v4::loopback(), 0}};
    fiber server{[&] {
        tcp::socket accepted{executor};
        acceptor.async_accept(accepted, use_fiber);
        websocket::stream<beast::tcp_stream> socket{std::move(accepted)};
        socket.async_accept(use_fiber);
        for (;;) {
            beast::flat_buffer buffer;
            error_code error;
            socket.async_read(buffer, use_fiber[error]);
            if (error) {
                CHECK(error == websocket::error::closed);
                return;
            }
            socket.text(socket.got_text());
            socket.async_write(buffer.data(), use_fiber);
        }
    }};
    websocket::stream<beast::tcp_stream> socket{executor};
    beast::get_lowest_layer(socket).async_connect(acceptor.local_endpoint(), use_fiber);
    socket.async_handshake("localhost", "/", use_fiber);
    for (const std::size_t size : {0UL, 1UL, 200UL, 100'000UL}) {
        const std::string sent(size, 'x');
        socket.async_write(asio::buffer(sent), use_fiber);
        beast::flat_buffer buffer;
        CHECK(socket.async_read(buffer, use_fiber) == size);
        CHECK(beast::buffers_to_string(buffer.data()) == sent);
    }
    socket.async_close(websocket::close_code::normal, use_fiber);
    server.join();
}

} // namespace

TEST_SUITE_BEGIN("beast");

TEST_CASE("HTTP requests over one connection to nginx") {
    const auto port = static_cast<unsigned short>(clients::shared<clients::web_server>().port);
    coir::run([&] {
        beast::tcp_stream stream{this_hub_io_context()};
        stream.async_connect(tcp::endpoint{asio::ip::address_v4::loopback(), port}, use_fiber);
        beast::flat_buffer buffer;
        for (const char* path : {"/small", "/missing", "/big", "/small"}) {
            http::request<http::empty_body> request{http::verb::get, path, 11};
            request.set(http::field::host, "localhost");
            http::async_write(stream, request, use_fiber);
            http::response_parser<http::string_body> response;
            response.body_limit(20'000'000);
            http::async_read(stream, buffer, response, use_fiber);
            if (std::string_view{path} == "/missing") {
                CHECK(response.get().result() == http::status::not_found);
                continue;
            }
            CHECK(response.get().result() == http::status::ok);
            if (std::string_view{path} == "/big")
                CHECK(response.get().body().size() == 10'000'000);
            else
                CHECK(response.get().body() == "small\n");
        }
    });
}

TEST_CASE("an HTTP server that does not answer is a timeout: ours, or Beast's own") {
    coir::run([] {
        tcp::acceptor silent{this_hub_io_context(), {asio::ip::address_v4::loopback(), 0}};
        beast::tcp_stream stream{this_hub_io_context()};
        stream.async_connect(silent.local_endpoint(), use_fiber);
        beast::flat_buffer buffer;
        http::response<http::string_body> response;
        {
            timeout limit{1ms};
            CHECK_THROWS_AS(http::async_read(stream, buffer, response, use_fiber), timed_out);
        }
        stream.expires_after(1ms);
        error_code error;
        http::async_read(stream, buffer, response, use_fiber[error]);
        CHECK(error == beast::error::timeout);
    });
}

TEST_CASE("WebSockets, both ends in fibers") {
    coir::run([] { echo_over_websocket(this_hub_io_context().get_executor()); });
}

TEST_CASE("WebSockets that run on a pool") {
    asio::thread_pool pool{2};
    coir::run([&] { echo_over_websocket(asio::make_strand(pool)); });
    pool.join();
}

TEST_CASE("a WebSocket that waits is cut off") {
    coir::run([] {
        tcp::acceptor acceptor{this_hub_io_context(), {asio::ip::address_v4::loopback(), 0}};
        fiber server{[&] {
            websocket::stream<beast::tcp_stream> socket{acceptor.async_accept(use_fiber)};
            socket.async_accept(use_fiber);
            beast::flat_buffer buffer;
            error_code error;
            socket.async_read(buffer, use_fiber[error]);
            CHECK(error);
        }};
        {
            websocket::stream<beast::tcp_stream> socket{this_hub_io_context()};
            beast::get_lowest_layer(socket).async_connect(acceptor.local_endpoint(), use_fiber);
            socket.async_handshake("localhost", "/", use_fiber);
            beast::flat_buffer buffer;
            timeout limit{1ms};
            CHECK_THROWS_AS(socket.async_read(buffer, use_fiber), timed_out);
        }
        server.join();
    });
}

TEST_SUITE_END();
