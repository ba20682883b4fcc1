// SPDX-License-Identifier: BSL-1.0
// Callbacks. It tries to write at once, and queues only what the socket does not take.
#include "socket.hpp"

#include <memory>
#include <uv.h>

namespace {

struct client {
    uv_tcp_t socket{};
    char data[4096];
};

void end(uv_handle_t* handle)
{
    uv_close(handle, [](uv_handle_t* closed) { delete static_cast<client*>(closed->data); });
}

void read(uv_stream_t* stream, ssize_t size, const uv_buf_t* from)
{
    if (size == 0)
        return; // EAGAIN
    const uv_buf_t answer{.base = from->base, .len = static_cast<std::size_t>(size)};
    // A client that does not read its 64 bytes is none of ours.
    if (size < 0 || uv_try_write(stream, &answer, 1) != size)
        end(reinterpret_cast<uv_handle_t*>(stream));
}

void lend(uv_handle_t* handle, std::size_t, uv_buf_t* buffer)
{
    auto& of = *static_cast<client*>(handle->data);
    *buffer = {.base = of.data, .len = sizeof of.data};
}

void accept(uv_stream_t* listener, int status)
{
    bench::must(status == 0, "connection");
    auto one = std::make_unique<client>();
    uv_tcp_init(listener->loop, &one->socket);
    one->socket.data = one.get();
    auto* const stream = reinterpret_cast<uv_stream_t*>(&one.release()->socket);
    bench::must(uv_accept(listener, stream) == 0, "uv_accept");
    uv_tcp_nodelay(reinterpret_cast<uv_tcp_t*>(stream), 1);
    uv_read_start(stream, lend, read);
}

} // namespace

int main()
{
    std::signal(SIGPIPE, SIG_IGN);
    bench::raise_descriptor_limit();
    uv_loop_t* const loop = uv_default_loop();
    uv_tcp_t listener;
    uv_tcp_init(loop, &listener);
    auto address = bench::loopback(0);
    uv_tcp_bind(&listener, reinterpret_cast<const sockaddr*>(&address), 0);
    bench::must(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), 4096, accept) == 0, "uv_listen");
    int size = sizeof address;
    bench::must(uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&address), &size) == 0, "uv_tcp_getsockname");
    bench::announce(ntohs(address.sin_port));
    uv_run(loop, UV_RUN_DEFAULT);
}
