// SPDX-License-Identifier: BSL-1.0
#include "arrival.hpp"
#include "attempt.hpp"
#include "socket_transfer.hpp"

#include <coir/fairness.hpp>
#include <coir/fiber.hpp>
#include <coir/net/tcp_stream.hpp>
#include <coir/net/unix_stream.hpp>

#include <poll.h>

#include <type_traits>
#include <utility>

namespace coir::net {

namespace {

std::size_t read_unix(int socket, std::span<const iovec> into, error_code& ec)
{
    const auto size = attempt(socket, POLLIN, ec, [&] { return receive_now(socket, into); });
    if (size == 0)
        ec = error::eof;
    return transferred(size);
}

bool wait_to_read(int socket, std::uint64_t seen, error_code& ec)
{
    return this_fiber::active() ? may_try_again(wait_for_arrival(socket, seen), ec)
                                : wait_to_try_again(socket, POLLIN, ec);
}

/// An `attempt` that leaves out the try where the last read has emptied the socket; see arrival.hpp. `emptied_at` is
/// not touched after a wait that somebody has ended with a close, since it may be gone with its stream.
std::size_t read_tcp(int socket, std::span<const iovec> into, std::uint64_t& emptied_at, error_code& ec)
{
    const auto* const entry = fd_table::instance().find(socket);
    auto emptied = std::exchange(emptied_at, 0);
    if (emptied != 0 && !wait_to_read(socket, emptied, ec))
        return 0;
    for (;;) {
        const auto seen = arrivals_at(entry);
        const auto result = receive_now(socket, into);
        if (result > 0) [[likely]] {
            const auto size = static_cast<std::size_t>(result);
            if (seen != 0 && size < size_of(into) && entry->steady.load(std::memory_order_relaxed))
                emptied_at = seen;
            ec.clear();
            done_without_waiting();
            return size;
        }
        if (result == 0) {
            ec = error::eof;
            return 0;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN) {
            ec = system_error(errno);
            return 0;
        }
        if (!wait_to_read(socket, seen, ec))
            return 0;
    }
}

template <class Stream> void end_websocket(boost::beast::role_type role, Stream& stream, error_code& ec)
{
    // RFC 6455, 7.1.1: the server closes first, so that it is the one to hold TIME_WAIT; each reads until the other
    // has.
    if (role == boost::beast::role_type::server)
        stream.shutdown(socket::shutdown_send, ec);
    else
        ec.clear();
    char unread[4096];
    while (!ec.failed())
        stream.read_some(unread, ec);
    if (is_eof(ec))
        ec.clear();
    if (role == boost::beast::role_type::client && !ec.failed())
        stream.shutdown(socket::shutdown_send, ec);
    if (!ec.failed())
        stream.close(ec);
}

} // namespace

template <class Protocol> std::size_t stream_socket<Protocol>::read_parts(std::span<const iovec> into, error_code& ec)
{
    if constexpr (std::is_same_v<Protocol, boost::asio::ip::tcp>)
        return read_tcp(native_handle(), into, emptied_at_, ec);
    else
        return read_unix(native_handle(), into, ec);
}

template <class Protocol> std::size_t stream_socket<Protocol>::write_parts(std::span<const iovec> from, error_code& ec)
{
    const int socket = native_handle();
    return transferred(attempt(socket, POLLOUT, ec, [&] { return send_now(socket, from); }));
}

template class stream_socket<boost::asio::ip::tcp>;
template class stream_socket<boost::asio::local::stream_protocol>;

void teardown(boost::beast::role_type role, tcp_stream& stream, error_code& ec)
{
    end_websocket(role, stream, ec);
}

void teardown(boost::beast::role_type role, unix_stream& stream, error_code& ec)
{
    end_websocket(role, stream, ec);
}

} // namespace coir::net
