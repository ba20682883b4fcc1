// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"
#include "open_socket.hpp"

#include <coir/net/tcp_stream.hpp>

#include <netinet/tcp.h>

namespace coir::net {

tcp_stream tcp_stream::connect(const tcp_endpoint& to, const tcp_endpoint& from, error_code& ec)
{
    auto socket = open_socket(to.protocol().family(), SOCK_STREAM, IPPROTO_TCP, ec);
    set_flag(socket.get(), IPPROTO_TCP, TCP_NODELAY, true, ec);
    if (!ec.failed() && from != tcp_endpoint{} &&
        ::bind(socket.get(), from.data(), static_cast<socklen_t>(from.size())) != 0)
        ec = system_error(errno);
    if (!ec.failed())
        connect_socket(socket.get(), to.data(), static_cast<socklen_t>(to.size()), ec);
    if (!ec.failed())
        set_nonblocking(socket.get(), false, ec);
    return ec.failed() ? tcp_stream{} : tcp_stream{std::move(socket)};
}

tcp_stream tcp_stream::connect(const tcp_endpoint& to, const tcp_endpoint& from)
{
    error_code ec;
    auto result = connect(to, from, ec);
    throw_if(ec, "coir::net: connect");
    return result;
}

} // namespace coir::net
