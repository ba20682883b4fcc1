// SPDX-License-Identifier: BSL-1.0
// read, write and their relatives. A row is: in a fiber, the call in a form that does not block, under the blocking
// protocol; elsewhere, the genuine function. The exceptions are the kernel's own: what must be done whole is tried
// until it is.
#include "descriptor_kind.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "remaining_parts.hpp"
#include "self_check.hpp"
#include "socket_io.hpp"
#include "stream_io.hpp"

#include <coir/fairness.hpp>

#include <sys/eventfd.h>

#include <cerrno>
#include <climits>

namespace coir {

namespace {

/// Flags with which the kernel itself never blocks, however the descriptor is set up.
bool never_blocks(int flags) noexcept
{
    return flags & (MSG_DONTWAIT | MSG_ERRQUEUE);
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

/// What never waits elsewhere keeps others waiting: /dev/zero, a file in memory.
template <class Call> ssize_t file_call(Call&& call) noexcept
{
    const ssize_t result = call();
    done_without_waiting();
    return result;
}

msghdr message_of(const iovec* parts, int count) noexcept
{
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = static_cast<size_t>(count);
    return message;
}

} // namespace

namespace {

// Apart from the rows, which so have nothing to save on their way to libc.

[[gnu::noinline]] ssize_t read_in_fiber(int fd, void* data, size_t size) noexcept
{
    ssize_t result;
    if (as_socket(fd, result, [&] { return receive(fd, data, size, 0, nullptr, nullptr); }))
        return result;
    if (is_file(fd))
        return file_call([&] { return libc.read(fd, data, size); });
    const iovec part{data, size};
    return read_stream(fd, &part, 1);
}

[[gnu::noinline]] ssize_t write_in_fiber(int fd, const void* data, size_t size) noexcept
{
    ssize_t result;
    if (as_socket(fd, result, [&] { return send_all(fd, data, size, 0, nullptr, 0); }))
        return result;
    if (is_file(fd) || size == 0)
        return file_call([&] { return libc.write(fd, data, size); });
    const iovec part{const_cast<void*>(data), size};
    return write_stream(fd, &part, 1);
}

[[gnu::noinline]] ssize_t peek_in_fiber(int fd, void* data, size_t size, int flags) noexcept
{
    if (peeks_for_more(fd, flags))
        return on_helper([&] { return libc.recv(fd, data, size, flags); });
    return receive(fd, data, size, flags, nullptr, nullptr);
}

} // namespace

COIR_INTERPOSE ssize_t read(int fd, void* data, size_t size)
{
    if (outside() || size == 0)
        return libc.read(fd, data, size);
    return read_in_fiber(fd, data, size);
}

COIR_INTERPOSE ssize_t write(int fd, const void* data, size_t size)
{
    if (outside())
        return libc.write(fd, data, size);
    return write_in_fiber(fd, data, size);
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
    return is_file(fd) ? file_call([&] { return libc.readv(fd, parts, count); }) : read_stream(fd, parts, count);
}

COIR_INTERPOSE ssize_t writev(int fd, const iovec* parts, int count)
{
    ssize_t result;
    if (outside() || count <= 0 || count > IOV_MAX || total_size(parts, count) == 0) // which sends no datagram
        return libc.writev(fd, parts, count);
    const auto message = message_of(parts, count);
    if (as_socket(fd, result, [&] { return send_message(fd, &message, 0); }))
        return result;
    return is_file(fd) ? file_call([&] { return libc.writev(fd, parts, count); }) : write_stream(fd, parts, count);
}

// At a position, only files can be read or written, and those go to libc. "Position -1" is where the file is: a stream.
// Flags other than "do not wait" matter to files alone.

COIR_INTERPOSE ssize_t preadv2(int fd, const iovec* parts, int count, off_t position, int flags)
{
    if (outside() || position != -1 || flags != 0)
        return libc.preadv2(fd, parts, count, position, flags);
    return coir::readv(fd, parts, count);
}

COIR_INTERPOSE ssize_t preadv64v2(int fd, const iovec* parts, int count, off64_t position, int flags)
{
    return coir::preadv2(fd, parts, count, position, flags);
}

COIR_INTERPOSE ssize_t pwritev2(int fd, const iovec* parts, int count, off_t position, int flags)
{
    if (outside() || position != -1 || flags != 0)
        return libc.pwritev2(fd, parts, count, position, flags);
    return coir::writev(fd, parts, count);
}

COIR_INTERPOSE ssize_t pwritev64v2(int fd, const iovec* parts, int count, off64_t position, int flags)
{
    return coir::pwritev2(fd, parts, count, position, flags);
}

// glibc's own call its read and write, which no symbol reaches.

COIR_INTERPOSE int eventfd_read(int fd, eventfd_t* value)
{
    return coir::read(fd, value, sizeof *value) == sizeof *value ? 0 : -1;
}

COIR_INTERPOSE int eventfd_write(int fd, eventfd_t value)
{
    return coir::write(fd, &value, sizeof value) == sizeof value ? 0 : -1;
}

COIR_INTERPOSE ssize_t recv(int fd, void* data, size_t size, int flags)
{
    if (outside() || never_blocks(flags))
        return libc.recv(fd, data, size, flags);
    if (flags & MSG_PEEK)
        return peek_in_fiber(fd, data, size, flags);
    return receive(fd, data, size, flags, nullptr, nullptr);
}

COIR_INTERPOSE ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* from_size)
{
    if (outside() || never_blocks(flags))
        return libc.recvfrom(fd, data, size, flags, from, from_size);
    if (peeks_for_more(fd, flags))
        return on_helper([&] { return libc.recvfrom(fd, data, size, flags, from, from_size); });
    return receive(fd, data, size, flags, from, from_size);
}

COIR_INTERPOSE ssize_t recvmsg(int fd, msghdr* message, int flags)
{
    if (outside() || never_blocks(flags) || message->msg_iovlen > IOV_MAX)
        return libc.recvmsg(fd, message, flags);
    if (peeks_for_more(fd, flags))
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
