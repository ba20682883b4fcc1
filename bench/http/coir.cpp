// SPDX-License-Identifier: BSL-1.0
// A fiber per connection, coir's own streams: reads lines up to the empty one, answers, goes on.
#include "hello.hpp"

#include <coir/net/buffered_reader.hpp>
#include <coir/net/serve.hpp>
#include <coir/runtime.hpp>

#include <string>

int main()
{
    bench::raise_descriptor_limit();
    coir::run([] {
        coir::net::tcp_listener listener{{boost::asio::ip::address_v4::loopback(), 0}};
        bench::print({{"port", listener.local_endpoint().port()}});
        coir::net::serve(listener,
                         [](coir::net::tcp_stream client) {
                             coir::net::buffered_reader requests{client};
                             boost::system::error_code ec;
                             std::string line;
                             while (requests.read_line(line, ec) && line == "GET / HTTP/1.1") {
                                 while (requests.read_line(line, ec) && !line.empty()) {}
                                 if (!ec.failed())
                                     client.write(bench::answer, ec);
                             }
                         },
                         {.connections_max = 100'000});
    });
}
