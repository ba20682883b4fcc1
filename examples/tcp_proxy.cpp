// SPDX-License-Identifier: BSL-1.0
//
// tcp_proxy TARGET [PORT]: passes each connection to PORT on to TARGET, which is HOST:PORT.
#include <coir/net/connect.hpp>
#include <coir/net/copy.hpp>
#include <coir/net/serve.hpp>
#include <coir/net/signal.hpp>
#include <coir/runtime.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

int main(int count, char** arguments)
{
    if (count < 2) {
        std::fprintf(stderr, "usage: tcp_proxy TARGET [PORT]\n");
        return 2;
    }
    const std::string target = arguments[1];
    const auto port = static_cast<unsigned short>(count > 2 ? std::atoi(arguments[2]) : 0);
    coir::run([&] {
        coir::net::tcp_listener listener{{coir::net::make_address("127.0.0.1"), port}};
        coir::net::stop_on_signal ending;
        std::printf("listening on port %u\n", listener.local_endpoint().port());
        std::fflush(stdout);
        const auto pass_on = [&](coir::net::tcp_stream client) {
            auto server = coir::net::connect(target); // what it throws ends this connection only
            const auto moved = coir::net::relay(client, server);
            std::printf("%zu bytes there, %zu back\n", moved.forth, moved.back);
            std::fflush(stdout);
        };
        coir::net::serve(listener, pass_on, {.stop = ending.get_token()});
    });
}
