// SPDX-License-Identifier: BSL-1.0
// read, write and their relatives. A row is: in a fiber, the call in a form that does not block, under the blocking
// protocol; elsewhere, the genuine function. The exceptions are the kernel's own: what must be done whole is tried
// until it is.
#include "blocking.hpp"
#include "descriptor_kind.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "remaining_parts.hpp"
#include "self_check.hpp"

#include <sys/ioctl.h>
#include <termios.h>

#include <algorithm>
#include <climits>

namespace coir {

namespace {

/// Flags with which the kernel itself never blocks, however the descriptor is set up.
bool never_blocks(int flags) noexcept
{
    return flags & (MSG_DONTWAIT | MSG_ERRQUEUE);
}

/// The kernel cannot be asked to peek until all is there and not to block at once; it also means whole datagrams.
bool whole_peek(int flags) noexcept
{
    return (flags & (MSG_PEEK | MSG_WAITALL)) == (MSG_PEEK | MSG_WAITALL);
}

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

// ---- what is not a socket -------------------------------------------------------------------------------------------

/// What a terminal without line editing is set up to do: to return from a read with nothing, at once or after a while,
/// or to wait in the middle of it for the rest (termios(3), MIN and TIME). poll tells nothing of that.
struct terminal_timing {
    bool may_read_nothing = false;
    bool waits_for_more = false;

    explicit terminal_timing(int fd) noexcept
    {
        termios settings;
        unsigned controlled = 0;
        if (::tcgetattr(fd, &settings) != 0 || settings.c_lflag & ICANON || ::ioctl(fd, TIOCGPTN, &controlled) == 0)
            return;
        may_read_nothing = settings.c_cc[VMIN] == 0;
        waits_for_more = settings.c_cc[VMIN] > 1 && settings.c_cc[VTIME] > 0;
    }
};

/// Reads where the kernel has no way not to block: asks first whether there is something.
ssize_t poll_and_read(int fd, const iovec* parts, int count) noexcept
{
    const int before = errno;
    const terminal_timing terminal{fd};
    errno = before;
    pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
    if (libc.poll(&one, 1, 0) == 0 ? terminal.may_read_nothing : terminal.waits_for_more)
        return on_helper([&] { return libc.readv(fd, parts, count); });
    if (one.revents != 0)
        return libc.readv(fd, parts, count);
    errno = EAGAIN;
    return -1;
}

/// One try at reading or writing a pipe, terminal, event or timer descriptor without blocking.
ssize_t try_stream(int fd, direction way, const iovec* parts, int count) noexcept
{
    const int before = errno;
    if (kind_of(fd) == descriptor_kind::stream) {
        const auto result = way == direction::read ? ::preadv2(fd, parts, count, -1, RWF_NOWAIT)
                                                   : ::pwritev2(fd, parts, count, -1, RWF_NOWAIT);
        if (result != -1 || errno != EOPNOTSUPP)
            return result;
        set_kind(fd, descriptor_kind::pollable);
        errno = before;
    }
    if (way == direction::read)
        return poll_and_read(fd, parts, count);
    pollfd one{.fd = fd, .events = POLLOUT, .revents = 0};
    if (libc.poll(&one, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    // "Ready" promises room for PIPE_BUF bytes and no more (pipe(7)).
    iovec piece = *parts;
    while (piece.iov_len == 0 && count-- > 1)
        piece = *++parts;
    piece.iov_len = std::min<size_t>(piece.iov_len, PIPE_BUF);
    return libc.writev(fd, &piece, 1);
}

ssize_t read_stream(int fd, const iovec* parts, int count) noexcept
{
    return blocking(fd, direction::read, [&] { return try_stream(fd, direction::read, parts, count); });
}

ssize_t write_stream(int fd, const iovec* parts, int count) noexcept
{
    remaining_parts rest{parts, static_cast<size_t>(count)};
    return blocking_all(fd, direction::write, total_size(parts, count), [&](size_t done) {
        rest.skip_to(done);
        return try_stream(fd, direction::write, rest.data(), static_cast<int>(rest.size()));
    });
}

// ---- sockets --------------------------------------------------------------------------------------------------------

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

/// Calls `on_socket`; the first time for a descriptor that turns out not to be one, corrects its kind and gives up.
template <class Call> bool as_socket(int fd, ssize_t& result, Call&& on_socket) noexcept
{
    if (kind_of(fd) != descriptor_kind::socket)
        return false;
    result = on_socket();
    if (result != -1 || errno != ENOTSOCK) [[likely]]
        return true;
    forget_kind(fd);
    return kind_of(fd) == descriptor_kind::socket;
}

bool is_file(int fd) noexcept
{
    const auto kind = kind_of(fd);
    return kind == descriptor_kind::file || kind == descriptor_kind::unknown;
}

msghdr message_of(const iovec* parts, int count) noexcept
{
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = static_cast<size_t>(count);
    return message;
}

} // namespace

// ---- the calls ------------------------------------------------------------------------------------------------------

COIR_INTERPOSE ssize_t read(int fd, void* data, size_t size)
{
    ssize_t result;
    if (outside() || size == 0)
        return libc.read(fd, data, size);
    if (as_socket(fd, result, [&] { return receive(fd, data, size, 0, nullptr, nullptr); }))
        return result;
    if (is_file(fd))
        return libc.read(fd, data, size);
    const iovec part{data, size};
    return read_stream(fd, &part, 1);
}

COIR_INTERPOSE ssize_t write(int fd, const void* data, size_t size)
{
    ssize_t result;
    if (outside())
        return libc.write(fd, data, size);
    if (as_socket(fd, result, [&] { return send_all(fd, data, size, 0, nullptr, 0); }))
        return result;
    if (is_file(fd) || size == 0)
        return libc.write(fd, data, size);
    const iovec part{const_cast<void*>(data), size};
    return write_stream(fd, &part, 1);
}

COIR_INTERPOSE ssize_t readv(int fd, const iovec* parts, int count)
{
    ssize_t result;
    if (count <= 0)
        self_check_seen = true;
    if (outside() || count <= 0 || count > IOV_MAX || total_size(parts, count) == 0)
        return libc.readv(fd, parts, count);
    auto message = message_of(parts, count);
    if (as_socket(fd, result, [&] { return receive_message(fd, &message, 0); }))
        return result;
    return is_file(fd) ? libc.readv(fd, parts, count) : read_stream(fd, parts, count);
}

COIR_INTERPOSE ssize_t writev(int fd, const iovec* parts, int count)
{
    ssize_t result;
    if (outside() || count <= 0 || count > IOV_MAX)
        return libc.writev(fd, parts, count);
    const auto message = message_of(parts, count);
    if (as_socket(fd, result, [&] { return send_message(fd, &message, 0); }))
        return result;
    return is_file(fd) || total_size(parts, count) == 0 ? libc.writev(fd, parts, count)
                                                        : write_stream(fd, parts, count);
}

COIR_INTERPOSE ssize_t recv(int fd, void* data, size_t size, int flags)
{
    if (outside() || never_blocks(flags))
        return libc.recv(fd, data, size, flags);
    if (whole_peek(flags))
        return on_helper([&] { return libc.recv(fd, data, size, flags); });
    return receive(fd, data, size, flags, nullptr, nullptr);
}

COIR_INTERPOSE ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* from_size)
{
    if (outside() || never_blocks(flags))
        return libc.recvfrom(fd, data, size, flags, from, from_size);
    if (whole_peek(flags))
        return on_helper([&] { return libc.recvfrom(fd, data, size, flags, from, from_size); });
    return receive(fd, data, size, flags, from, from_size);
}

COIR_INTERPOSE ssize_t recvmsg(int fd, msghdr* message, int flags)
{
    if (outside() || never_blocks(flags) || message->msg_iovlen > IOV_MAX)
        return libc.recvmsg(fd, message, flags);
    if (whole_peek(flags))
        return on_helper([&] { return libc.recvmsg(fd, message, flags); });
    return receive_message(fd, message, flags);
}

COIR_INTERPOSE ssize_t send(int fd, const void* data, size_t size, int flags)
{
    if (outside() || never_blocks(flags))
        return libc.send(fd, data, size, flags);
    return send_all(fd, data, size, flags, nullptr, 0);
}

COIR_INTERPOSE ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size)
{
    if (outside() || never_blocks(flags))
        return libc.sendto(fd, data, size, flags, to, to_size);
    return send_all(fd, data, size, flags, to, to_size);
}

COIR_INTERPOSE ssize_t sendmsg(int fd, const msghdr* message, int flags)
{
    if (outside() || never_blocks(flags) || message->msg_iovlen > IOV_MAX)
        return libc.sendmsg(fd, message, flags);
    return send_message(fd, message, flags);
}

// Fortified twins. What is too large for its buffer is for the genuine one, which aborts.

COIR_INTERPOSE ssize_t __read_chk(int fd, void* data, size_t size, size_t room)
{
    return size > room ? libc.read_chk(fd, data, size, room) : coir::read(fd, data, size);
}

COIR_INTERPOSE ssize_t __recv_chk(int fd, void* data, size_t size, size_t room, int flags)
{
    return size > room ? libc.recv_chk(fd, data, size, room, flags) : coir::recv(fd, data, size, flags);
}

COIR_INTERPOSE ssize_t __recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags, sockaddr* from,
                                      socklen_t* from_size)
{
    return size > room ? libc.recvfrom_chk(fd, data, size, room, flags, from, from_size)
                       : coir::recvfrom(fd, data, size, flags, from, from_size);
}

} // namespace coir
