// SPDX-License-Identifier: BSL-1.0
// Boost.Beast over Asio's C++20 coroutines.
#include "bench.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

namespace {

asio::awaitable<void> serve(tcp::socket socket)
{
    socket.set_option(tcp::no_delay{true});
    boost::beast::flat_buffer buffer;
    http::response<http::string_body> answer{http::status::ok, 11};
    answer.set(http::field::content_type, "text/plain");
    answer.body() = "hello, fiber\n";
    answer.prepare_payload();
    try {
        for (;;) {
            http::request<http::empty_body> request;
            co_await http::async_read(socket, buffer, request, asio::use_awaitable);
            co_await http::async_write(socket, answer, asio::use_awaitable);
        }
    } catch (const boost::system::system_error&) {
    }
}

asio::awaitable<void> accept(tcp::acceptor& acceptor)
{
    for (;;) {
        auto socket = co_await acceptor.async_accept(asio::use_awaitable);
        asio::co_spawn(acceptor.get_executor(), serve(std::move(socket)), asio::detached);
    }
}

} // namespace

int main()
{
    bench::raise_descriptor_limit();
    asio::io_context context{1};
    tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    acceptor.listen(4096);
    bench::print({{"port", acceptor.local_endpoint().port()}});
    asio::co_spawn(context, accept(acceptor), asio::detached);
    context.run();
}
