// SPDX-License-Identifier: BSL-1.0
#include "socket_io.hpp"

#include "blocking.hpp"
#include "libc.hpp"
#include "remaining_parts.hpp"
#include "socket_answers.hpp"

#include <coir/fairness.hpp>
#include <coir/net/arrival.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>

namespace coir {

namespace {

/// What a read of a blocking stream socket waits for: 1 byte, unless SO_RCVLOWAT says more.
size_t low_water(int socket) noexcept
{
    if (!low_water_in_use.load(std::memory_order_relaxed)) [[likely]]
        return 1;
    int bytes = 1;
    socklen_t size = sizeof bytes;
    const int before = errno;
    if (::getsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, &size) != 0 || bytes <= 1 || !is_stream_socket(socket) ||
        libc.fcntl(socket, F_GETFL, 0) & O_NONBLOCK)
        bytes = 1;
    errno = before;
    return static_cast<size_t>(bytes);
}

/// TCP announces data only from the low-water mark on, and counts from what has been read: so nothing is read before.
bool below_low_water(int socket) noexcept
{
    pollfd one{.fd = socket, .events = POLLIN, .revents = 0};
    if (libc.poll(&one, 1, 0) != 0)
        return false;
    errno = EAGAIN;
    return true;
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

bool is_stream_socket(int socket) noexcept
{
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

bool peeks_for_more(int fd, int flags) noexcept
{
    return (flags & MSG_PEEK) && (flags & MSG_WAITALL || low_water(fd) > 1);
}

int send_flags(int flags, size_t done) noexcept
{
    return flags | MSG_DONTWAIT | (done > 0 ? MSG_NOSIGNAL : 0);
}

namespace {

ssize_t try_to_receive(int fd, void* data, size_t size, std::uint64_t seen) noexcept
{
    const ssize_t result = libc.recvfrom(fd, data, size, MSG_DONTWAIT, nullptr, nullptr);
    if (seen != 0 && result > 0 && static_cast<size_t>(result) < size)
        net::note_emptied(fd, seen);
    return result;
}

/// `empty_since`: instead of a first try that would find nothing, unless that is 0.
[[gnu::noinline]] ssize_t receive_waiting(int fd, void* data, size_t size, std::uint64_t empty_since,
                                          int before) noexcept
{
    blocked_call call{fd, direction::read};
    bool go_on = empty_since != 0 ? call.wait_for_arrival(empty_since) : call.wait();
    for (;;) {
        const int failure = errno;
        // A wait that was cut off without a try: what need not wait succeeds all the same.
        if (!go_on && (empty_since == 0 || failure == EBADF))
            return -1;
        const auto result = try_to_receive(fd, data, size, net::arrivals(fd));
        if (result != -1) {
            errno = before;
            return result;
        }
        if (!would_block(errno))
            return result;
        if (!go_on) {
            errno = failure;
            return -1;
        }
        empty_since = 0;
        go_on = call.wait();
    }
}

/// As `blocking`, but where the last read has emptied the socket, it is not tried before something has arrived.
[[gnu::noinline]] ssize_t receive_from_tcp(int fd, void* data, size_t size) noexcept
{
    const int before = errno;
    std::uint64_t seen;
    if (net::emptied(fd, seen) && may_suspend())
        return receive_waiting(fd, data, size, seen, before);
    const auto result = try_to_receive(fd, data, size, seen);
    if (result == -1 && would_block(errno))
        return receive_waiting(fd, data, size, 0, before);
    done_without_waiting();
    return result;
}

} // namespace

ssize_t receive(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* from_size) noexcept
{
    if (flags == 0 && !from && !low_water_in_use.load(std::memory_order_relaxed)) [[likely]] {
        if (answer_for(fd) == socket_answer::tcp && !records_in_use.load(std::memory_order_relaxed))
            return receive_from_tcp(fd, data, size);
        return blocking(fd, direction::read,
                        [&] { return libc.recvfrom(fd, data, size, MSG_DONTWAIT, nullptr, nullptr); });
    }
    const bool all = (flags & MSG_WAITALL) && is_stream_socket(fd);
    const size_t enough = all ? size : std::min(low_water(fd), size);
    if (enough > 1) [[unlikely]]
        return blocking_until(fd, direction::read, enough, [&](size_t done) -> ssize_t {
            if (done > 0 && broken_and_empty(fd))
                return 0;
            if (!all && below_low_water(fd))
                return -1;
            return libc.recvfrom(fd, static_cast<char*>(data) + done, size - done, flags | MSG_DONTWAIT, from,
                                 from_size);
        });
    return blocking(fd, direction::read,
                    [&] { return libc.recvfrom(fd, data, size, flags | MSG_DONTWAIT, from, from_size); });
}

ssize_t receive_message(int fd, msghdr* message, int flags) noexcept
{
    const int before = errno;
    const bool all = (flags & MSG_WAITALL) && is_stream_socket(fd);
    const auto size = total_size(message->msg_iov, static_cast<int>(message->msg_iovlen));
    const size_t enough = all ? size : std::min(low_water(fd), size);
    const auto first_try = *message;
    const auto first = blocking(fd, direction::read, [&]() -> ssize_t {
        *message = first_try; // the kernel writes lengths back even when it then fails
        if (enough > 1 && !all && below_low_water(fd))
            return -1;
        return libc.recvmsg(fd, message, flags | MSG_DONTWAIT);
    });
    if (first <= 0 || static_cast<size_t>(first) >= enough)
        return first;

    // The first piece may bring ancillary data; what follows is plain bytes.
    const auto offset = static_cast<size_t>(first);
    remaining_parts rest{message->msg_iov, message->msg_iovlen};
    const auto more = blocking_until(fd, direction::read, enough - offset, [&](size_t done) -> ssize_t {
        if (broken_and_empty(fd))
            return 0;
        rest.skip_to(offset + done);
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
