// SPDX-License-Identifier: BSL-1.0
// coir's own TLS streams, a fiber per connection.
#include "bench.hpp"
#include "certificate.hpp"

#include <coir/net/serve.hpp>
#include <coir/net/tls_listener.hpp>
#include <coir/runtime.hpp>

#include <string_view>

int main()
{
    bench::raise_descriptor_limit();
    const auto context = coir::net::tls_context::server(
        {.certificate_chain = bench::certificate_file(), .private_key = bench::key_file()});
    coir::run([&] {
        coir::net::tls_listener listener{coir::net::tcp_listener{{boost::asio::ip::address_v4::loopback(), 0}},
                                         context};
        bench::print({{"port", listener.local_endpoint().port()}});
        coir::net::serve(listener,
                         [](coir::net::tls_stream client) {
                             char data[4096];
                             boost::system::error_code ec;
                             while (!ec.failed())
                                 if (const auto size = client.read_some(data, ec); !ec.failed())
                                     client.write(std::string_view{data, size}, ec);
                         },
                         {.connections_max = 100'000});
    });
}
