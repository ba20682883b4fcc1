// SPDX-License-Identifier: BSL-1.0
#include <coir/deadline.hpp>
#include <coir/net/connect.hpp>
#include <coir/runtime.hpp>

#include <iostream>
#include <string>
#include <system_error>

using namespace std::chrono_literals;

std::string first_line(const std::string& target)
{
    auto server = coir::net::connect(target);
    server.write("GET / HTTP/1.0\r\n\r\n");
    std::string answer;
    const auto size = server.read_until(answer, "\r\n");
    return answer.substr(0, size);
}

int main(int argc, char** argv)
{
    const std::string target = argc > 1 ? argv[1] : "localhost:80";
    coir::run([&] {
        try {
            std::cout << coir::with_timeout(5s, [&] { return first_line(target); });
        } catch (const std::system_error& failure) {
            std::cout << failure.what() << "\n";
        }
    });
}
