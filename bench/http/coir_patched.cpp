// SPDX-License-Identifier: BSL-1.0
// A fiber per connection, plain POSIX calls through the patch.
#include "hello.hpp"
#include "socket.hpp"

#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <string>

namespace {

void serve(int client)
{
    bench::no_delay(client);
    std::string received;
    char data[4096];
    for (ssize_t size; (size = ::read(client, data, sizeof data)) > 0;) {
        received.append(data, static_cast<std::size_t>(size));
        for (std::size_t end; (end = received.find("\r\n\r\n")) != std::string::npos; received.erase(0, end + 4))
            if (!bench::is_a_get(received) ||
                ::write(client, bench::answer.data(), bench::answer.size()) != ssize_t{bench::answer.size()})
                return void(::close(client));
    }
    ::close(client);
}

} // namespace

int main()
{
    coir::run([] {
        const int listener = bench::listen_on_loopback();
        for (;;) {
            const int client = ::accept(listener, nullptr, nullptr);
            bench::must(client >= 0, "accept");
            coir::fiber{serve, client}.detach();
        }
    });
}
