// SPDX-License-Identifier: BSL-1.0
#include "socket_io.hpp"

#include "blocking.hpp"
#include "libc.hpp"
#include "remaining_parts.hpp"

#include <sys/ioctl.h>

namespace coir {

namespace {

/// SIGPIPE belongs to the first try: a blocking send that has sent something reports that, and the error next time.
int send_flags(int flags, size_t done) noexcept
{
    return flags | MSG_DONTWAIT | (done > 0 ? MSG_NOSIGNAL : 0);
}

bool is_stream(int socket) noexcept
{
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/// Whether the connection has broken down. The kernel keeps the error for a call that has nothing else to report: where
/// something has been done already, trying again would take the error away and report it to nobody.
bool broken(int socket) noexcept
{
    pollfd one{.fd = socket, .events = 0, .revents = 0};
    constexpr short reset = POLLERR | POLLHUP;
    return libc.poll(&one, 1, 0) > 0 && (one.revents & reset) == reset;
}

/// The same, with nothing left to read.
bool broken_and_empty(int socket) noexcept
{
    int size = 0;
    return broken(socket) && ::ioctl(socket, FIONREAD, &size) == 0 && size == 0;
}

} // namespace

ssize_t receive(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* from_size) noexcept
{
    if ((flags & MSG_WAITALL) && is_stream(fd))
        return blocking_all(fd, direction::read, size, [&](size_t done) -> ssize_t {
            if (done > 0 && broken_and_empty(fd))
                return 0;
            return libc.recvfrom(fd, static_cast<char*>(data) + done, size - done, flags | MSG_DONTWAIT, from,
                                 from_size);
        });
    return blocking(fd, direction::read,
                    [&] { return libc.recvfrom(fd, data, size, flags | MSG_DONTWAIT, from, from_size); });
}

ssize_t receive_message(int fd, msghdr* message, int flags) noexcept
{
    const auto first_try = *message;
    auto once = [&](int extra) {
        return blocking(fd, direction::read, [&] {
            *message = first_try; // the kernel writes lengths back even when it then fails
            return libc.recvmsg(fd, message, flags | extra);
        });
    };
    if (!(flags & MSG_WAITALL) || !is_stream(fd))
        return once(MSG_DONTWAIT);

    // The first piece may bring ancillary data; what follows is plain bytes.
    const int before = errno;
    const auto wanted = total_size(message->msg_iov, static_cast<int>(message->msg_iovlen));
    const auto first = once(MSG_DONTWAIT);
    if (first <= 0 || static_cast<size_t>(first) == wanted)
        return first;
    remaining_parts rest{message->msg_iov, message->msg_iovlen};
    const auto more =
        blocking_all(fd, direction::read, wanted - static_cast<size_t>(first), [&](size_t done) -> ssize_t {
            if (broken_and_empty(fd))
                return 0;
            rest.skip_to(static_cast<size_t>(first) + done);
            msghdr following{};
            following.msg_iov = const_cast<iovec*>(rest.data());
            following.msg_iovlen = rest.size();
            return libc.recvmsg(fd, &following, flags | MSG_DONTWAIT);
        });
    errno = before;
    return more > 0 ? first + more : first;
}

ssize_t send_all(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size) noexcept
{
    return blocking_all(fd, direction::write, size, [&](size_t done) -> ssize_t {
        if (done > 0 && broken(fd))
            return 0;
        return libc.sendto(fd, static_cast<const char*>(data) + done, size - done, send_flags(flags, done), to,
                           to_size);
    });
}

ssize_t send_message(int fd, const msghdr* message, int flags) noexcept
{
    remaining_parts rest{message->msg_iov, message->msg_iovlen};
    const auto size = total_size(message->msg_iov, static_cast<int>(message->msg_iovlen));
    return blocking_all(fd, direction::write, size, [&](size_t done) -> ssize_t {
        if (done > 0 && broken(fd))
            return 0;
        auto piece = *message;
        rest.skip_to(done);
        piece.msg_iov = const_cast<iovec*>(rest.data());
        piece.msg_iovlen = rest.size();
        if (done > 0) { // ancillary data, such as passed descriptors, went with the first piece
            piece.msg_control = nullptr;
            piece.msg_controllen = 0;
        }
        return libc.sendmsg(fd, &piece, send_flags(flags, done));
    });
}

} // namespace coir
