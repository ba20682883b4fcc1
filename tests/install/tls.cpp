// SPDX-License-Identifier: BSL-1.0
// pkg-config: coir-tls
#include <coir/net/tls_connect.hpp>
#include <coir/net/tls_listener.hpp>
#include <coir/runtime.hpp>

int main()
{
    const auto context = coir::net::tls_context::client();
    return coir::run([&] {
        boost::system::error_code ec;
        coir::net::tls_connect("no port", context, ec);
        return ec == boost::asio::error::invalid_argument ? 0 : 1;
    });
}
