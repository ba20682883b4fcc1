// SPDX-License-Identifier: BSL-1.0
// Boost.Beast's synchronous functions over coir's own streams: a fiber per connection.
#include "bench.hpp"

#include <coir/net/serve.hpp>
#include <coir/runtime.hpp>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace http = boost::beast::http;

namespace {

void serve(coir::net::tcp_stream client)
{
    boost::beast::flat_buffer buffer;
    http::response<http::string_body> answer{http::status::ok, 11};
    answer.set(http::field::content_type, "text/plain");
    answer.body() = "hello, fiber\n";
    answer.prepare_payload();
    boost::system::error_code ec;
    while (!ec) {
        http::request<http::empty_body> request;
        http::read(client, buffer, request, ec);
        if (!ec)
            http::write(client, answer, ec);
    }
}

} // namespace

int main()
{
    bench::raise_descriptor_limit();
    coir::run([] {
        coir::net::tcp_listener listener{{boost::asio::ip::address_v4::loopback(), 0}};
        bench::print({{"port", listener.local_endpoint().port()}});
        coir::net::serve(listener, serve, {.connections_max = 100'000});
    });
}
