// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber_group.hpp>
#include <coir/net/tcp_listener.hpp>
#include <coir/runtime.hpp>

#include <array>
#include <cstdlib>
#include <iostream>
#include <string_view>

using namespace coir::net;

void echo(tcp_stream peer)
{
    std::array<char, 4096> bytes;
    error_code ec;
    for (;;) {
        const auto size = peer.read_some(bytes, ec);
        if (ec)
            return;
        peer.write(std::string_view{bytes.data(), size}, ec);
    }
}

int main(int argc, char** argv)
{
    const auto port = static_cast<unsigned short>(argc > 1 ? std::atoi(argv[1]) : 7000);
    coir::run([&] {
        tcp_listener listener{{make_address("127.0.0.1"), port}};
        std::cout << "listening on " << listener.local_endpoint() << std::endl;
        coir::fiber_group clients;
        for (;;)
            clients.spawn(echo, listener.accept());
    });
}
