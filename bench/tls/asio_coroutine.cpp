// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"
#include "certificate.hpp"

#include <array>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

asio::awaitable<void> serve(tcp::socket socket, asio::ssl::context& tls)
{
    socket.set_option(tcp::no_delay{true});
    asio::ssl::stream<tcp::socket> stream{std::move(socket), tls};
    std::array<char, 4096> data;
    try {
        co_await stream.async_handshake(asio::ssl::stream_base::server, asio::use_awaitable);
        for (;;) {
            const auto size = co_await stream.async_read_some(asio::buffer(data), asio::use_awaitable);
            co_await asio::async_write(stream, asio::buffer(data, size), asio::use_awaitable);
        }
    } catch (const boost::system::system_error&) {
    }
}

asio::awaitable<void> accept(tcp::acceptor& acceptor, asio::ssl::context& tls)
{
    for (;;) {
        auto socket = co_await acceptor.async_accept(asio::use_awaitable);
        asio::co_spawn(acceptor.get_executor(), serve(std::move(socket), tls), asio::detached);
    }
}

} // namespace

int main()
{
    bench::raise_descriptor_limit();
    asio::io_context context{1};
    asio::ssl::context tls{asio::ssl::context::tls_server};
    tls.use_certificate_chain_file(bench::certificate_file());
    tls.use_private_key_file(bench::key_file(), asio::ssl::context::pem);
    tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    acceptor.listen(4096);
    bench::print({{"port", acceptor.local_endpoint().port()}});
    asio::co_spawn(context, accept(acceptor, tls), asio::detached);
    context.run();
}
