// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"
#include "open_socket.hpp"
#include "socket_transfer.hpp"

#include <coir/fiber.hpp>
#include <coir/net/udp_socket.hpp>
#include <coir/net/unix_datagram.hpp>

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <type_traits>

namespace coir::net {

namespace {

using namespace std::chrono_literals;

/// Until there is room to send. A Unix socket is told when the queue of the receiver that it is connected to has room,
/// but not of any other's: there it looks again, now and then.
bool wait_for_room(int socket, bool unconnected_unix, std::chrono::microseconds& pause, error_code& ec)
{
    if (!unconnected_unix)
        return wait_to_try_again(socket, POLLOUT, ec);
    const auto look = std::exchange(pause, std::min(2 * pause, std::chrono::microseconds{10ms}));
    if (!this_fiber::active()) {
        this_fiber::sleep_for(look);
        return true;
    }
    const auto until = clock::now() + look;
    auto status = wait_status::ready; // "writable", which it is, all the time
    while (status == wait_status::ready)
        status = wait_ready(socket, 0, until);
    return may_try_again(status, ec);
}

} // namespace

template <class Protocol>
void datagram_socket<Protocol>::send_parts(std::span<const iovec> from, const endpoint_type* to, error_code& ec)
{
    constexpr bool is_unix = std::is_same_v<Protocol, boost::asio::local::datagram_protocol>;
    const int socket = native_handle();
    auto message = message_of(from);
    if (to) {
        message.msg_name = const_cast<typename endpoint_type::data_type*>(to->data());
        message.msg_namelen = static_cast<socklen_t>(to->size());
    }
    for (auto pause = 100us;;) {
        if (::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != -1) {
            ec.clear();
            done_without_waiting();
            return;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN) {
            ec = system_error(errno);
            return;
        }
        if (!wait_for_room(socket, is_unix && to, pause, ec))
            return;
    }
}

template <class Protocol>
auto datagram_socket<Protocol>::receive_parts(std::span<const iovec> into, error_code& ec) -> datagram_type
{
    datagram_type received;
    const int socket = native_handle();
    msghdr message{};
    const auto size = attempt(socket, POLLIN, ec, [&] {
        message = message_of(into);
        message.msg_name = received.from.data();
        message.msg_namelen = static_cast<socklen_t>(received.from.capacity());
        return ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_TRUNC); // the full size, even where it does not fit
    });
    if (ec.failed())
        return {};
    received.full_size = transferred(size);
    received.size = std::min(received.full_size, size_of(into));
    received.from.resize(message.msg_namelen);
    return received;
}

template <class Protocol> void datagram_socket<Protocol>::connect(const endpoint_type& to, error_code& ec)
{
    const bool done = ::connect(native_handle(), to.data(), static_cast<socklen_t>(to.size())) == 0;
    ec = done ? error_code{} : system_error(errno);
}

template <class Protocol> void datagram_socket<Protocol>::connect(const endpoint_type& to)
{
    error_code ec;
    connect(to, ec);
    throw_if(ec, "coir::net: connect");
}

template class datagram_socket<boost::asio::ip::udp>;
template class datagram_socket<boost::asio::local::datagram_protocol>;

namespace {

/// Without O_NONBLOCK: nothing but transfers could block, and those have MSG_DONTWAIT.
unique_fd open_datagram_socket(int family, error_code& ec)
{
    unique_fd made{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    ec = made ? error_code{} : system_error(errno);
    return made;
}

template <class Endpoint> void bind_socket(int socket, const Endpoint& at, error_code& ec) noexcept
{
    if (!ec.failed() && ::bind(socket, at.data(), static_cast<socklen_t>(at.size())) != 0)
        ec = system_error(errno);
}

} // namespace

// ---- UDP ------------------------------------------------------------------------------------------------------------

udp_socket::udp_socket(const udp_endpoint& at, const udp_options& options)
{
    error_code ec;
    *this = bind(at, options, ec);
    throw_if(ec, "coir::net: bind");
}

udp_socket udp_socket::bind(const udp_endpoint& at, const udp_options& options, error_code& ec)
{
    auto made = open_datagram_socket(at.protocol().family(), ec);
    if (options.reuse_address)
        set_flag(made.get(), SOL_SOCKET, SO_REUSEADDR, true, ec);
    if (options.reuse_port)
        set_flag(made.get(), SOL_SOCKET, SO_REUSEPORT, true, ec);
    if (options.v6_only && at.protocol() == boost::asio::ip::udp::v6())
        set_flag(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, *options.v6_only, ec);
    bind_socket(made.get(), at, ec);
    return ec.failed() ? udp_socket{} : udp_socket{std::move(made)};
}

// ---- Unix -----------------------------------------------------------------------------------------------------------

unix_datagram::unix_datagram()
{
    error_code ec;
    fd_ = open_datagram_socket(AF_UNIX, ec);
    throw_if(ec, "coir::net: socket");
}

unix_datagram::unix_datagram(const unix_datagram_endpoint& at) : unix_datagram{}
{
    error_code ec;
    bind_socket(native_handle(), at, ec);
    throw_if(ec, "coir::net: bind");
}

unix_datagram unix_datagram::bind(const unix_datagram_endpoint& at, error_code& ec)
{
    auto made = open_datagram_socket(AF_UNIX, ec);
    bind_socket(made.get(), at, ec);
    if (ec.failed())
        made.reset();
    return unix_datagram{std::move(made)};
}

} // namespace coir::net
