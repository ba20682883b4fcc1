// SPDX-License-Identifier: BSL-1.0
// A thread per connection: the program that coir's would be without coir.
#include "socket.hpp"

#include <thread>

namespace {

void serve(int client)
{
    bench::no_delay(client);
    char data[4096];
    for (ssize_t size; (size = ::read(client, data, sizeof data)) > 0;)
        if (::write(client, data, static_cast<std::size_t>(size)) != size)
            break;
    ::close(client);
}

} // namespace

int main()
{
    const int listener = bench::listen_on_loopback();
    for (;;) {
        const int client = ::accept(listener, nullptr, nullptr);
        bench::must(client >= 0, "accept");
        std::thread{serve, client}.detach();
    }
}
