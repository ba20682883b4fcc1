// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"
#include "open_socket.hpp"

#include <coir/net/socket.hpp>

namespace coir::net {

namespace {

error_code outcome(int result) noexcept
{
    return result == 0 ? error_code{} : system_error(errno);
}

} // namespace

void socket::shutdown(shutdown_type how, error_code& ec) noexcept
{
    ec = outcome(::shutdown(native_handle(), how));
}

void socket::shutdown(shutdown_type how)
{
    error_code ec;
    shutdown(how, ec);
    throw_if(ec, "coir::net: shutdown");
}

unique_fd socket::release_blocking() noexcept
{
    error_code ignored;
    if (is_open())
        set_nonblocking(native_handle(), false, ignored);
    return std::move(fd_);
}

int socket::protocol_of::family() const noexcept
{
    int family = AF_UNSPEC;
    socklen_t size = sizeof family;
    ::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &size);
    return family;
}

void socket::set_raw_option(int level, int name, const void* value, socklen_t size, error_code& ec) noexcept
{
    ec = outcome(::setsockopt(native_handle(), level, name, value, size));
}

void socket::get_raw_option(int level, int name, void* value, socklen_t& size, error_code& ec) const noexcept
{
    ec = outcome(::getsockopt(native_handle(), level, name, value, &size));
}

void socket::get_name(bool peer, sockaddr* name, socklen_t& size, error_code& ec) const noexcept
{
    ec = outcome((peer ? ::getpeername : ::getsockname)(native_handle(), name, &size));
}

} // namespace coir::net
