// SPDX-License-Identifier: BSL-1.0
#pragma once
// One try at a transfer over a socket. MSG_DONTWAIT: the descriptor needs no O_NONBLOCK, and the patch, where it is
// linked in, passes such calls on as they are.
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <span>

namespace coir::net {

inline msghdr message_of(std::span<const iovec> parts) noexcept
{
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = std::min<std::size_t>(parts.size(), IOV_MAX);
    return message;
}

inline std::ptrdiff_t receive_now(int socket, std::span<const iovec> into) noexcept
{
    if (into.size() == 1) [[likely]]
        return ::recv(socket, into.front().iov_base, into.front().iov_len, MSG_DONTWAIT);
    auto message = message_of(into);
    return ::recvmsg(socket, &message, MSG_DONTWAIT);
}

inline std::ptrdiff_t send_now(int socket, std::span<const iovec> from) noexcept
{
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (from.size() == 1) [[likely]]
        return ::send(socket, from.front().iov_base, from.front().iov_len, flags);
    const auto message = message_of(from);
    return ::sendmsg(socket, &message, flags);
}

} // namespace coir::net
