// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"
#include "no_sigpipe.hpp"

#include <coir/net/pipe.hpp>
#include <coir/net/standard_streams.hpp>
#include <coir/outside_fiber.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>

namespace coir::net {

namespace {

attempt_kind kind_of(int descriptor) noexcept
{
    struct stat status {};
    if (::fstat(descriptor, &status) != 0)
        return attempt_kind::nowait;
    if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode))
        return attempt_kind::plain;
    return S_ISCHR(status.st_mode) ? attempt_kind::pollable : attempt_kind::nowait;
}

int count_of(std::span<const iovec> parts) noexcept
{
    return static_cast<int>(std::min<std::size_t>(parts.size(), IOV_MAX));
}

bool ready_now(int descriptor, short events) noexcept
{
    pollfd one{.fd = descriptor, .events = events, .revents = 0};
    if (::poll(&one, 1, 0) != 0)
        return true;
    errno = EAGAIN;
    return false;
}

/// One try. `kind` is corrected where the kernel does not know RWF_NOWAIT for such a descriptor.
std::ptrdiff_t read_now(int descriptor, std::span<const iovec> into, attempt_kind& kind) noexcept
{
    const outside_fiber not_ours;
    if (kind == attempt_kind::nowait) {
        const auto size = ::preadv2(descriptor, into.data(), count_of(into), -1, RWF_NOWAIT);
        if (size != -1 || errno != EOPNOTSUPP)
            return size;
        kind = attempt_kind::pollable;
    }
    if (kind == attempt_kind::pollable && !ready_now(descriptor, POLLIN))
        return -1;
    return ::readv(descriptor, into.data(), count_of(into));
}

std::ptrdiff_t write_now(int descriptor, std::span<const iovec> from, attempt_kind& kind) noexcept
{
    const outside_fiber not_ours;
    if (kind == attempt_kind::nowait) {
        const auto size = ::pwritev2(descriptor, from.data(), count_of(from), -1, RWF_NOWAIT);
        if (size != -1 || errno != EOPNOTSUPP)
            return size;
        kind = attempt_kind::pollable;
    }
    if (kind == attempt_kind::plain)
        return ::writev(descriptor, from.data(), count_of(from));
    if (!ready_now(descriptor, POLLOUT))
        return -1;
    // "Ready" promises room for PIPE_BUF bytes and no more (pipe(7)).
    const auto first = std::find_if(from.begin(), from.end(), [](const iovec& each) { return each.iov_len > 0; });
    return ::write(descriptor, first->iov_base, std::min<std::size_t>(first->iov_len, PIPE_BUF));
}

std::ptrdiff_t write_quietly(int descriptor, std::span<const iovec> from, attempt_kind& kind) noexcept
{
    if (kind == attempt_kind::plain)
        return write_now(descriptor, from, kind);
    return without_sigpipe([&] { return write_now(descriptor, from, kind); });
}

} // namespace

pipe_reader::pipe_reader(unique_fd readable) noexcept : descriptor{std::move(readable)}, kind_{kind_of(native_handle())}
{
}

std::size_t pipe_reader::read_parts(std::span<const iovec> into, error_code& ec)
{
    const int pipe = native_handle();
    const auto size = attempt(pipe, POLLIN, ec, [&] { return read_now(pipe, into, kind_); });
    if (size == 0)
        ec = error::eof;
    return transferred(size);
}

pipe_writer::pipe_writer(unique_fd writable) noexcept : descriptor{std::move(writable)}, kind_{kind_of(native_handle())}
{
}

std::size_t pipe_writer::write_parts(std::span<const iovec> from, error_code& ec)
{
    const int pipe = native_handle();
    return transferred(attempt(pipe, POLLOUT, ec, [&] { return write_quietly(pipe, from, kind_); }));
}

// ---- the process's own ----------------------------------------------------------------------------------------------

namespace {

/// A descriptor of our own, of what the process's standard stream is.
template <class End> End standard_stream(int number, int access)
{
    if (::isatty(number)) {
        char path[32];
        std::snprintf(path, sizeof path, "/proc/self/fd/%d", number);
        const outside_fiber not_ours; // opening a terminal does not wait: it has no carrier to wait for with O_NONBLOCK
        if (unique_fd again{::open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)})
            return End{std::move(again), attempt_kind::plain};
    }
    unique_fd duplicate{::fcntl(number, F_DUPFD_CLOEXEC, 3)};
    if (!duplicate)
        throw_error(system_error(errno), "coir::net: a standard stream");
    return End{std::move(duplicate)};
}

} // namespace

pipe_reader standard_input()
{
    return standard_stream<pipe_reader>(STDIN_FILENO, O_RDONLY);
}

pipe_writer standard_output()
{
    return standard_stream<pipe_writer>(STDOUT_FILENO, O_WRONLY);
}

pipe_writer standard_error()
{
    return standard_stream<pipe_writer>(STDERR_FILENO, O_WRONLY);
}

// ---------------------------------------------------------------------------------------------------------------------

pipe_ends make_pipe()
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        throw_error(system_error(errno), "coir::net: make_pipe");
    return {pipe_reader{unique_fd{ends[0]}}, pipe_writer{unique_fd{ends[1]}}};
}

} // namespace coir::net
