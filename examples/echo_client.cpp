// SPDX-License-Identifier: BSL-1.0
//
// echo_client HOST:PORT: sends the standard input's lines, and prints what comes back. One fiber for each direction.
#include <coir/fiber.hpp>
#include <coir/net/connect.hpp>
#include <coir/net/copy.hpp>
#include <coir/net/standard_streams.hpp>
#include <coir/runtime.hpp>

#include <cstdio>
#include <exception>

int main(int count, char** arguments)
{
    if (count != 2) {
        std::fprintf(stderr, "usage: echo_client HOST:PORT\n");
        return 2;
    }
    try {
        coir::run([&] {
            auto server = coir::net::connect(arguments[1]);
            coir::fiber sending{[&] {
                auto input = coir::net::standard_input();
                coir::net::copy(input, server);
                server.shutdown(coir::net::socket::shutdown_send);
            }};
            auto output = coir::net::standard_output();
            coir::net::copy(server, output);
            sending.cancel(); // the server has hung up; nobody takes any more
        });
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "echo_client: %s\n", failure.what());
        return 1;
    }
}
