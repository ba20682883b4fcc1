// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"
#include "open_socket.hpp"

#include <coir/net/tcp_listener.hpp>
#include <coir/net/unix_listener.hpp>
#include <coir/outside_fiber.hpp>

#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <utility>

namespace coir::net {

namespace {

/// Errors that a connection has brought with it, which says nothing of the listener (accept(2), "Error handling").
bool concerns_one_connection(const error_code& ec) noexcept
{
    switch (ec.value()) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET: return true;
    default: return false;
    }
}

unique_fd adopt(unique_fd listening)
{
    error_code ec;
    set_nonblocking(listening.get(), true, ec);
    throw_if(ec, "coir::net: listen");
    return listening;
}

} // namespace

template <class Stream> unique_fd listener<Stream>::accept_socket(sockaddr* peer, socklen_t* size, error_code& ec)
{
    const int socket = native_handle();
    for (;;) {
        const int accepted = attempt(socket, POLLIN, ec, [&] {
            const outside_fiber not_ours;
            return ::accept4(socket, peer, size, SOCK_CLOEXEC);
        });
        if (!ec.failed() || !concerns_one_connection(ec))
            return unique_fd{accepted};
    }
}

template <class Stream> Stream listener<Stream>::accept()
{
    error_code ec;
    auto result = accept(ec);
    throw_if(ec, "coir::net: accept");
    return result;
}

template <class Stream> Stream listener<Stream>::accept(endpoint_type& peer)
{
    error_code ec;
    auto result = accept(peer, ec);
    throw_if(ec, "coir::net: accept");
    return result;
}

template class listener<tcp_stream>;
template class listener<unix_stream>;

// ---- TCP ------------------------------------------------------------------------------------------------------------

tcp_listener::tcp_listener(unique_fd listening) : listener{adopt(std::move(listening))} {}

tcp_listener::tcp_listener(const tcp_endpoint& at, const tcp_listen_options& options)
{
    error_code ec;
    *this = listen(at, options, ec);
    throw_if(ec, "coir::net: listen");
}

tcp_listener tcp_listener::listen(const tcp_endpoint& at, const tcp_listen_options& options, error_code& ec)
{
    tcp_listener result;
    result.fd_ = open_socket(at.protocol().family(), SOCK_STREAM, IPPROTO_TCP, ec);
    const int socket = result.native_handle();
    if (options.reuse_address)
        set_flag(socket, SOL_SOCKET, SO_REUSEADDR, true, ec);
    if (options.reuse_port)
        set_flag(socket, SOL_SOCKET, SO_REUSEPORT, true, ec);
    if (options.v6_only && at.protocol() == boost::asio::ip::tcp::v6())
        set_flag(socket, IPPROTO_IPV6, IPV6_V6ONLY, *options.v6_only, ec);
    set_flag(socket, IPPROTO_TCP, TCP_NODELAY, true, ec); // what is accepted inherits it
    if (!ec.failed())
        listen_socket(socket, at.data(), static_cast<socklen_t>(at.size()), options.backlog, ec);
    if (ec.failed())
        result.fd_.reset();
    return result;
}

// ---- Unix -----------------------------------------------------------------------------------------------------------

unix_listener::unix_listener(unique_fd listening) : listener{adopt(std::move(listening))} {}

unix_listener::unix_listener(const unix_endpoint& at, const unix_listen_options& options)
{
    error_code ec;
    *this = listen(at, options, ec);
    throw_if(ec, "coir::net: listen");
}

unix_listener unix_listener::listen(const unix_endpoint& at, const unix_listen_options& options, error_code& ec)
{
    unix_listener result;
    result.fd_ = open_socket(AF_UNIX, SOCK_STREAM, 0, ec);
    if (!ec.failed())
        listen_socket(result.native_handle(), at.data(), static_cast<socklen_t>(at.size()), options.backlog, ec);
    if (ec.failed())
        result.fd_.reset();
    else if (auto path = at.path(); options.unlink_on_close && !path.empty() && path.front() != '\0')
        result.path_ = std::move(path);
    return result;
}

unix_listener::unix_listener(unix_listener&& other) noexcept
    : listener{std::move(static_cast<listener&>(other))}, path_{std::exchange(other.path_, {})}
{
}

unix_listener& unix_listener::operator=(unix_listener&& other) noexcept
{
    auto path = std::exchange(other.path_, {});
    unlink_path();
    path_ = std::move(path);
    listener::operator=(std::move(other));
    return *this;
}

unix_listener::~unix_listener()
{
    unlink_path();
}

void unix_listener::close(error_code& ec) noexcept
{
    unlink_path();
    listener::close(ec);
}

void unix_listener::close()
{
    unlink_path();
    listener::close();
}

unique_fd unix_listener::release() noexcept
{
    path_.clear();
    return listener::release();
}

void unix_listener::unlink_path() noexcept
{
    if (!path_.empty())
        ::unlink(path_.c_str());
    path_.clear();
}

} // namespace coir::net
