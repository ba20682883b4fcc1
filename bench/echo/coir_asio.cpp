// SPDX-License-Identifier: BSL-1.0
// A fiber per connection, Asio's sockets awaited with use_fiber.
#include "bench.hpp"

#include <coir/asio.hpp>
#include <coir/runtime.hpp>

#include <array>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

void serve(tcp::socket socket)
{
    socket.set_option(tcp::no_delay{true});
    std::array<char, 4096> data;
    boost::system::error_code error;
    for (;;) {
        const auto size = socket.async_read_some(asio::buffer(data), coir::use_fiber[error]);
        if (error)
            return;
        asio::async_write(socket, asio::buffer(data, size), coir::use_fiber);
    }
}

} // namespace

int main()
{
    bench::raise_descriptor_limit();
    coir::run([] {
        tcp::acceptor acceptor{coir::this_hub_io_context(), {asio::ip::address_v4::loopback(), 0}};
        acceptor.listen(4096);
        bench::print({{"port", acceptor.local_endpoint().port()}});
        for (;;)
            coir::fiber{serve, acceptor.async_accept(coir::use_fiber)}.detach();
    });
}
