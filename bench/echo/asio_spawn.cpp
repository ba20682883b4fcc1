// SPDX-License-Identifier: BSL-1.0
// Asio's own stackful coroutines.
#include "bench.hpp"

#include <array>

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/write.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

void serve(tcp::socket& socket, const asio::yield_context& yield)
{
    socket.set_option(tcp::no_delay{true});
    std::array<char, 4096> data;
    boost::system::error_code error;
    while (!error) {
        const auto size = socket.async_read_some(asio::buffer(data), yield[error]);
        if (!error)
            asio::async_write(socket, asio::buffer(data, size), yield[error]);
    }
}

void accept(tcp::acceptor& acceptor, const asio::yield_context& yield)
{
    for (;;)
        asio::spawn(
            acceptor.get_executor(),
            [socket = acceptor.async_accept(yield)](const asio::yield_context& own) mutable { serve(socket, own); },
            asio::detached);
}

} // namespace

int main()
{
    bench::raise_descriptor_limit();
    asio::io_context context{1};
    tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    acceptor.listen(4096);
    bench::print({{"port", acceptor.local_endpoint().port()}});
    asio::spawn(
        context, [&](const asio::yield_context& yield) { accept(acceptor, yield); }, asio::detached);
    context.run();
}
