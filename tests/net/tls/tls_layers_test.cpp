// SPDX-License-Identifier: BSL-1.0
// TLS among the layers of others: Beast over tls_stream, and Asio's ssl::stream over tcp_stream.
#include "certificates.hpp"
#include "loopback.hpp"
#include "server.hpp"
#include "websocket_talk.hpp"

#include <coir/fiber.hpp>
#include <coir/net/tls_connect.hpp>
#include <coir/runtime.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>

using certificates::good;
using coir::net::tls_context;
using coir::net::tls_stream;
namespace ssl = boost::asio::ssl;
namespace http = boost::beast::http;

namespace {

tls_context our_server()
{
    return tls_context::server({.certificate_chain = good().server.certificate, .private_key = good().server.key});
}

tls_context our_client()
{
    return tls_context::client({.authorities = good().authority.certificate});
}

} // namespace

TEST_CASE("a WebSocket talks and says goodbye over TLS") {
    coir::run([] {
        tcp_pair pair;
        talk_websocket(tls_stream{std::move(pair.ours), our_client(), {.host = "localhost"}},
                       tls_stream{std::move(pair.theirs), our_server()});
    });
}

TEST_CASE("Beast's HTTP over TLS, with nginx") {
    auto& web = clients::shared<clients::web_server>();
    coir::run([&] {
        const auto context = tls_context::client({.authorities = web.peer.certificate()});
        auto stream = coir::net::tls_connect("localhost:" + std::to_string(web.tls_port), context);
        boost::beast::flat_buffer buffer;
        for (int i = 0; i < 2; ++i) { // over one connection
            http::request<http::empty_body> request{http::verb::get, "/small", 11};
            request.set(http::field::host, "localhost");
            http::write(stream, request);
            http::response<http::string_body> response;
            http::read(stream, buffer, response);
            CHECK(response.result() == http::status::ok);
            CHECK(response.body() == "small\n");
        }
        stream.close(); // nginx would not answer a goodbye between two requests
    });
}

TEST_CASE("Asio's ssl::stream over a tcp_stream, with nginx") {
    auto& web = clients::shared<clients::web_server>();
    ssl::context context{ssl::context::tls_client};
    context.load_verify_file(web.peer.certificate());
    context.set_verify_mode(ssl::verify_peer);
    coir::run([&] {
        ssl::stream<coir::net::tcp_stream> stream{
            coir::net::tcp_stream::connect(loopback(static_cast<unsigned short>(web.tls_port))), context};
        stream.set_verify_callback(ssl::host_name_verification{"localhost"});
        bool others_run = false;
        coir::fiber other{[&] { others_run = true; }};
        stream.handshake(ssl::stream_base::client);
        CHECK(others_run); // it has suspended
        other.join();
        boost::asio::write(stream, boost::asio::buffer(std::string{"GET /small HTTP/1.0\r\n\r\n"}));
        std::string answer;
        boost::system::error_code ec;
        boost::asio::read(stream, boost::asio::dynamic_buffer(answer), ec);
        CHECK(ec == boost::asio::error::eof);
        CHECK(answer.ends_with("\r\n\r\nsmall\n"));
        stream.shutdown(ec);
        CHECK_FALSE(ec.failed());
    });
}
