// SPDX-License-Identifier: BSL-1.0
// Data that goes from one descriptor to another: sendfile, splice, tee, vmsplice.
#include "blocking.hpp"
#include "descriptor_kind.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "socket_io.hpp"
#include "stream_io.hpp"

#include <coir/wait_queue.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

#include <algorithm>
#include <climits>
#include <memory>
#include <new>

namespace coir {

namespace {

bool never_waits(int fd) noexcept
{
    const auto kind = kind_of(fd);
    return kind == descriptor_kind::file || kind == descriptor_kind::unknown;
}

bool nonblocking(int fd) noexcept
{
    const int flags = libc.fcntl(fd, F_GETFL, 0);
    return flags < 0 || flags & O_NONBLOCK;
}

// ---- sendfile -------------------------------------------------------------------------------------------------------

ssize_t write_all(int fd, const void* data, size_t size) noexcept
{
    if (kind_of(fd) == descriptor_kind::socket)
        return send_all(fd, data, size, 0, nullptr, 0);
    const iovec part{const_cast<void*>(data), size};
    return write_stream(fd, &part, 1);
}

/// The kernel has no sendfile that does not wait for one call only. So a fiber copies: what it costs is a memcpy.
ssize_t send_file(int to, int from, off64_t* position, size_t size) noexcept
{
    constexpr size_t piece = 64 * 1024;
    const int before = errno;
    const off64_t start = position ? *position : ::lseek64(from, 0, SEEK_CUR);
    const std::unique_ptr<char[]> room{new (std::nothrow) char[std::min(size, piece)]};
    if (!room || start < 0)
        return libc.sendfile(to, from, position, size);
    size_t done = 0;
    while (done < size) {
        const auto got = ::pread64(from, room.get(), std::min(size - done, piece), start + static_cast<off64_t>(done));
        if (got < 0 && done == 0)
            return libc.sendfile(to, from, position, size); // fails in its own way
        if (got <= 0)
            break;
        const auto sent = write_all(to, room.get(), static_cast<size_t>(got));
        if (sent < 0 && done == 0)
            return -1;
        done += static_cast<size_t>(std::max<ssize_t>(sent, 0));
        if (sent < got)
            break;
    }
    const off64_t end = start + static_cast<off64_t>(done);
    if (position)
        *position = end;
    else
        ::lseek64(from, end, SEEK_SET);
    errno = before;
    return static_cast<ssize_t>(done);
}

// ---- splice ---------------------------------------------------------------------------------------------------------

/// What `to`, which is no pipe, takes for sure when poll calls it writable: of its send buffer, a socket has a quarter
/// left at least; of a terminal little is known.
size_t sure_room(int to, size_t size) noexcept
{
    if (never_waits(to))
        return size;
    int buffer = 0;
    socklen_t length = sizeof buffer;
    if (::getsockopt(to, SOL_SOCKET, SO_SNDBUF, &buffer, &length) != 0)
        return std::min<size_t>(size, PIPE_BUF);
    return std::min(size, std::max<size_t>(static_cast<size_t>(buffer) / 8, 1));
}

bool is_pipe(int fd) noexcept
{
    const int before = errno;
    const bool pipe = libc.fcntl(fd, F_GETPIPE_SZ, 0) >= 0;
    errno = before;
    return pipe;
}

/// Suspends until the one can be read and the other be written, as far as they wait at all.
bool wait_for_both(int from, int to) noexcept
{
    pollfd ends[]{{.fd = from, .events = POLLIN, .revents = 0}, {.fd = to, .events = POLLOUT, .revents = 0}};
    libc.poll(ends, 2, 0);
    if (ends[0].revents == 0)
        return blocked_call{from, direction::read, may_block::yes}.wait();
    if (ends[1].revents == 0)
        return blocked_call{to, direction::write, may_block::yes}.wait();
    // Somebody else has been faster, and has left something again.
    const auto cause = park_until({.reason = {"splice"}, .deadline = deadline_after(std::chrono::milliseconds{1})});
    errno = errno_of(cause);
    return cause == wake_cause::timed_out;
}

/// SPLICE_F_NONBLOCK concerns pipes; another end that may wait is asked by poll.
bool ready_unless_pipe(int fd, short events) noexcept
{
    pollfd one{.fd = fd, .events = events, .revents = 0};
    return never_waits(fd) || is_pipe(fd) || libc.poll(&one, 1, 0) != 0;
}

/// `try_once` is the genuine call with SPLICE_F_NONBLOCK.
template <class Call> ssize_t splicing(int from, int to, Call&& try_once) noexcept
{
    const int before = errno;
    for (;;) {
        ssize_t result = -1;
        errno = EAGAIN;
        if (ready_unless_pipe(from, POLLIN) && ready_unless_pipe(to, POLLOUT))
            result = try_once();
        if (result != -1 || !would_block(errno) || !wait_for_both(from, to)) {
            if (result != -1)
                errno = before;
            return result;
        }
    }
}

bool more_in_pipe(int pipe) noexcept
{
    int bytes = 0;
    return ::ioctl(pipe, FIONREAD, &bytes) == 0 && bytes > 0;
}

ssize_t splice_in_fiber(int from, off64_t* from_position, int to, off64_t* to_position, size_t size,
                        unsigned flags) noexcept
{
    const bool drains = is_pipe(from) && !is_pipe(to); // goes on while there is something in the pipe
    size_t done = 0;
    do {
        const auto moved = splicing(from, to, [&] {
            return libc.splice(from, from_position, to, to_position, drains ? sure_room(to, size - done) : size,
                               flags | SPLICE_F_NONBLOCK);
        });
        if (moved <= 0)
            return done > 0 ? static_cast<ssize_t>(done) : moved;
        done += static_cast<size_t>(moved);
    } while (drains && done < size && more_in_pipe(from));
    return static_cast<ssize_t>(done);
}

/// Whose O_NONBLOCK the kernel goes by (fs/splice.c): always that of the target, and that of the source unless a pipe
/// is spliced to what is none.
bool asked_not_to_wait(int from, int to, unsigned flags) noexcept
{
    return flags & SPLICE_F_NONBLOCK || nonblocking(to) || (!(is_pipe(from) && !is_pipe(to)) && nonblocking(from));
}

} // namespace

COIR_INTERPOSE ssize_t sendfile64(int to, int from, off64_t* position, size_t size) noexcept
{
    if (outside() || size == 0 || never_waits(to) || nonblocking(to))
        return libc.sendfile(to, from, position, size);
    if (!never_waits(from))
        return on_helper([&] { return libc.sendfile(to, from, position, size); });
    return send_file(to, from, position, size);
}

COIR_INTERPOSE ssize_t sendfile(int to, int from, off_t* position, size_t size) noexcept
{
    return coir::sendfile64(to, from, position, size);
}

COIR_INTERPOSE ssize_t splice(int from, off64_t* from_position, int to, off64_t* to_position, size_t size,
                              unsigned flags)
{
    if (outside() || size == 0 || asked_not_to_wait(from, to, flags))
        return libc.splice(from, from_position, to, to_position, size, flags);
    return splice_in_fiber(from, from_position, to, to_position, size, flags);
}

COIR_INTERPOSE ssize_t tee(int from, int to, size_t size, unsigned flags)
{
    if (outside() || size == 0 || asked_not_to_wait(from, to, flags))
        return libc.tee(from, to, size, flags);
    return splicing(from, to, [&] { return libc.tee(from, to, size, flags | SPLICE_F_NONBLOCK); });
}

COIR_INTERPOSE ssize_t vmsplice(int fd, const iovec* parts, size_t count, unsigned flags)
{
    if (outside() || flags & SPLICE_F_NONBLOCK)
        return libc.vmsplice(fd, parts, count, flags);
    const bool writes = (libc.fcntl(fd, F_GETFL, 0) & O_ACCMODE) == O_WRONLY;
    return blocking(
        fd, writes ? direction::write : direction::read,
        [&] { return libc.vmsplice(fd, parts, count, flags | SPLICE_F_NONBLOCK); },
        may_block::yes); // O_NONBLOCK means nothing to it
}

/// Between files only: what takes long is the disk, or a server.
COIR_INTERPOSE ssize_t copy_file_range(int from, off64_t* from_position, int to, off64_t* to_position, size_t size,
                                       unsigned flags)
{
    if (outside())
        return libc.copy_file_range(from, from_position, to, to_position, size, flags);
    return on_helper([&] { return libc.copy_file_range(from, from_position, to, to_position, size, flags); });
}

} // namespace coir
