// SPDX-License-Identifier: BSL-1.0
// A thread of State Threads per connection.
#include "state_threads.hpp"
#include "socket.hpp"

namespace {

void* serve(void* argument)
{
    const auto client = static_cast<st_netfd_t>(argument);
    bench::no_delay(::st_netfd_fileno(client));
    char data[4096];
    for (ssize_t size; (size = ::st_read(client, data, sizeof data, ST_UTIME_NO_TIMEOUT)) > 0;)
        if (::st_write(client, data, static_cast<std::size_t>(size), ST_UTIME_NO_TIMEOUT) != size)
            break;
    ::st_netfd_close(client);
    return nullptr;
}

} // namespace

int main()
{
    bench::raise_descriptor_limit();
    bench::start_state_threads();
    const st_netfd_t listener = ::st_netfd_open_socket(bench::listen_on_loopback());
    for (;;) {
        const st_netfd_t client = ::st_accept(listener, nullptr, nullptr, ST_UTIME_NO_TIMEOUT);
        bench::must(client != nullptr, "st_accept");
        bench::must(::st_thread_create(serve, client, 0, 64 * 1024) != nullptr, "st_thread_create");
    }
}
