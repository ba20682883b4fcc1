// SPDX-License-Identifier: BSL-1.0
#include <coir/deadline.hpp>
#include <coir/net/tls_connect.hpp>
#include <coir/runtime.hpp>

#include <iostream>
#include <string>
#include <system_error>

using namespace std::chrono_literals;

std::string first_line(const std::string& target, const coir::net::tls_context& context)
{
    auto server = coir::net::tls_connect(target, context);
    std::cout << "talking " << server.version() << " with " << server.peer_certificate()->subject << "\n";
    server.write("GET / HTTP/1.0\r\n\r\n");
    std::string answer;
    const auto size = server.read_until(answer, "\r\n");
    return answer.substr(0, size);
}

int main(int argc, char** argv)
{
    const std::string target = argc > 1 ? argv[1] : "localhost:443";
    const auto context = coir::net::tls_context::client({.authorities = argc > 2 ? argv[2] : ""});
    coir::run([&] {
        try {
            std::cout << coir::with_timeout(5s, [&] { return first_line(target, context); });
        } catch (const std::system_error& failure) {
            std::cout << failure.what() << "\n";
        }
    });
}
