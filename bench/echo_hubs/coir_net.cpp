// SPDX-License-Identifier: BSL-1.0
// serve_on_hubs, on two.
#include "bench.hpp"

#include <coir/net/serve.hpp>
#include <coir/runtime.hpp>

#include <string_view>

int main()
{
    bench::raise_descriptor_limit();
    coir::runtime hubs{{.hubs = 2}};
    coir::run_in(hubs, [&] {
        auto listeners = coir::net::listen_on_hubs(hubs, {boost::asio::ip::address_v4::loopback(), 0});
        bench::print({{"port", listeners.front().local_endpoint().port()}});
        coir::net::serve_on_hubs(hubs, std::move(listeners),
                                 [](coir::net::tcp_stream client) {
                                     char data[4096];
                                     boost::system::error_code ec;
                                     while (!ec.failed())
                                         if (const auto size = client.read_some(data, ec); !ec.failed())
                                             client.write(std::string_view{data, size}, ec);
                                 },
                                 {.connections_max = 100'000});
    });
}
