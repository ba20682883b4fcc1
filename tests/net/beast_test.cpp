// SPDX-License-Identifier: BSL-1.0
// Beast's synchronous HTTP and WebSocket, over coir's streams as they stand.
#include "loopback.hpp"
#include "websocket_talk.hpp"

#include <coir/fiber.hpp>
#include <coir/net/unix_stream.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <string>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace beast = boost::beast;
namespace http = beast::http;

TEST_CASE("an HTTP request and its answer") {
    coir::run([] {
        tcp_pair pair;
        coir::fiber server{[&] {
            beast::flat_buffer buffer;
            http::request<http::string_body> request;
            http::read(pair.theirs, buffer, request);
            http::response<http::string_body> response{http::status::ok, request.version(),
                                                       "you asked for " + std::string{request.target()}};
            response.prepare_payload();
            http::write(pair.theirs, response);
        }};
        http::request<http::empty_body> request{http::verb::get, "/page", 11};
        http::write(pair.ours, request);
        beast::flat_buffer buffer;
        http::response<http::string_body> response;
        http::read(pair.ours, buffer, response);
        CHECK(response.body() == "you asked for /page");
    });
}

TEST_CASE("a WebSocket talks and says goodbye, over TCP and over a Unix socket") {
    coir::run([] {
        tcp_pair pair;
        talk_websocket(std::move(pair.ours), std::move(pair.theirs));
        auto [one, two] = coir::net::make_unix_stream_pair();
        talk_websocket(std::move(one), std::move(two));
    });
}
