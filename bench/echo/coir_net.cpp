// SPDX-License-Identifier: BSL-1.0
// A fiber per connection, coir's own streams; libc as it is.
#include "bench.hpp"

#include <coir/net/serve.hpp>
#include <coir/runtime.hpp>

#include <string_view>

int main()
{
    bench::raise_descriptor_limit();
    coir::run([] {
        coir::net::tcp_listener listener{{boost::asio::ip::address_v4::loopback(), 0}};
        bench::print({{"port", listener.local_endpoint().port()}});
        coir::net::serve(listener,
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
