// SPDX-License-Identifier: BSL-1.0
#include "stream_io.hpp"

#include "blocking.hpp"
#include "descriptor_kind.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "remaining_parts.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace coir {

namespace {

/// What a terminal without line editing is set up to do: to return from a read with nothing, at once or after a while,
/// to wait in the middle of it for the rest, or to return with all that was asked for although that is less than MIN
/// (termios(3), MIN and TIME). poll tells nothing of that.
struct terminal_timing {
    bool ends_unannounced = false;
    bool waits_for_more = false;

    terminal_timing(int fd, size_t size) noexcept
    {
        termios settings;
        unsigned controlled = 0;
        if (::tcgetattr(fd, &settings) != 0 || settings.c_lflag & ICANON || ::ioctl(fd, TIOCGPTN, &controlled) == 0)
            return;
        ends_unannounced = settings.c_cc[VMIN] == 0 || settings.c_cc[VMIN] > size;
        waits_for_more = settings.c_cc[VMIN] > 1 && settings.c_cc[VTIME] > 0;
    }
};

/// Reads where the kernel has no way not to block: asks first whether there is something.
ssize_t poll_and_read(int fd, const iovec* parts, int count) noexcept
{
    const int before = errno;
    const terminal_timing terminal{fd, total_size(parts, count)};
    errno = before;
    pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
    if (libc.poll(&one, 1, 0) == 0 ? terminal.ends_unannounced : terminal.waits_for_more)
        return on_helper([&] { return libc.readv(fd, parts, count); });
    if (one.revents != 0)
        return libc.readv(fd, parts, count);
    errno = EAGAIN;
    return -1;
}

bool has_room(int fd) noexcept
{
    pollfd one{.fd = fd, .events = POLLOUT, .revents = 0};
    return libc.poll(&one, 1, 0) != 0;
}

/// Whether an event descriptor takes that value, or refuses it, without waiting. poll calls it writable while it takes
/// another 1; what is larger may still have to wait, while 0 never does, nor does what is not valid.
bool event_has_room(int fd, const iovec& value_at) noexcept
{
    std::uint64_t value;
    if (value_at.iov_len < sizeof value)
        return true;
    std::memcpy(&value, value_at.iov_base, sizeof value);
    if (value == 0 || value == ~std::uint64_t{0})
        return true;
    if (!has_room(fd))
        return false;
    if (value == 1)
        return true;
    char path[40];
    std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    const int info = ::open(path, O_RDONLY | O_CLOEXEC);
    if (info < 0)
        return true;
    char text[512]{};
    static_cast<void>(libc.read(info, text, sizeof text - 1));
    libc.close(info);
    const char* count = std::strstr(text, "eventfd-count:");
    return !count || ~std::uint64_t{0} - std::strtoull(count + std::strlen("eventfd-count:"), nullptr, 16) > value;
}

ssize_t poll_and_write(int fd, const iovec* parts, int count) noexcept
{
    // "Ready" promises room for PIPE_BUF bytes and no more (pipe(7)).
    iovec piece = *parts;
    while (piece.iov_len == 0 && count-- > 1)
        piece = *++parts;
    piece.iov_len = std::min<size_t>(piece.iov_len, PIPE_BUF);
    const int before = errno;
    if (!(kind_of(fd) == descriptor_kind::event ? event_has_room(fd, piece) : has_room(fd))) {
        errno = EAGAIN;
        return -1;
    }
    errno = before;
    return libc.writev(fd, &piece, 1);
}

/// One try at reading or writing a pipe, terminal, event or timer descriptor without blocking.
ssize_t try_stream(int fd, direction way, const iovec* parts, int count) noexcept
{
    const int before = errno;
    const auto kind = kind_of(fd);
    if (kind == descriptor_kind::stream || (kind == descriptor_kind::event && way == direction::read)) {
        const auto result = way == direction::read ? libc.preadv2(fd, parts, count, -1, RWF_NOWAIT)
                                                   : libc.pwritev2(fd, parts, count, -1, RWF_NOWAIT);
        if (result != -1 || errno != EOPNOTSUPP)
            return result;
        errno = before;
        set_kind(fd, way == direction::write ? kind_without_nowait(fd) : descriptor_kind::pollable);
    }
    return way == direction::read ? poll_and_read(fd, parts, count) : poll_and_write(fd, parts, count);
}

} // namespace

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

} // namespace coir
