// SPDX-License-Identifier: BSL-1.0
// A fiber per connection, plain POSIX calls through the patch.
#include "socket.hpp"

#include <coir/patch.hpp>
#include <coir/runtime.hpp>

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
    coir::run([] {
        const int listener = bench::listen_on_loopback();
        for (;;) {
            const int client = ::accept(listener, nullptr, nullptr);
            bench::must(client >= 0, "accept");
            coir::fiber{serve, client}.detach();
        }
    });
}
