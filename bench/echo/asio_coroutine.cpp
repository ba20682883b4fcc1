// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <array>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

asio::awaitable<void> serve(tcp::socket socket)
{
    socket.set_option(tcp::no_delay{true});
    std::array<char, 4096> data;
    try {
        for (;;) {
            const auto size = co_await socket.async_read_some(asio::buffer(data), asio::use_awaitable);
            co_await asio::async_write(socket, asio::buffer(data, size), asio::use_awaitable);
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
