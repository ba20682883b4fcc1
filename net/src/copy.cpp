// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"
#include "no_sigpipe.hpp"
#include "open_socket.hpp"

#include <coir/net/copy.hpp>
#include <coir/outside_fiber.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace coir::net {

namespace {

/// What a pipe holds by default (pipe(7)).
constexpr std::size_t piece_size = 64 * 1024;

mode_t kind_of(int descriptor) noexcept
{
    struct stat status {};
    return ::fstat(descriptor, &status) == 0 ? status.st_mode & S_IFMT : 0;
}

/// SPLICE_F_NONBLOCK speaks of pipes; a socket asks its descriptor.
bool prepare(int descriptor, bool& is_pipe) noexcept
{
    const auto kind = kind_of(descriptor);
    is_pipe = kind == S_IFIFO;
    error_code ec;
    if (kind == S_IFSOCK)
        set_nonblocking(descriptor, true, ec);
    return (is_pipe || kind == S_IFSOCK) && !ec.failed();
}

bool ready_now(int descriptor, short events) noexcept
{
    const outside_fiber not_ours;
    pollfd one{.fd = descriptor, .events = events, .revents = 0};
    return ::poll(&one, 1, 0) != 0;
}

/// Which of the two made a splice wait is not said. Once both are ready again, there is nothing to wait for: what has
/// been ready all the time is not reported.
bool wait_for_either(int from, int to, error_code& ec)
{
    if (!ready_now(from, POLLIN))
        return wait_to_try_again(from, POLLIN, ec);
    return ready_now(to, POLLOUT) || wait_to_try_again(to, POLLOUT, ec);
}

} // namespace

splicer::splicer(int from, int to) noexcept : from_{from, false}, to_{to, false}
{
    if (!prepare(from, from_.is_pipe) || !prepare(to, to_.is_pipe))
        return;
    if (!from_.is_pipe && !to_.is_pipe) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0)
            return;
        between_ = {pipe_reader{unique_fd{ends[0]}, attempt_kind::nowait},
                    pipe_writer{unique_fd{ends[1]}, attempt_kind::nowait}};
    }
    usable_ = true;
}

std::size_t splicer::move(side from, side to, std::size_t size, error_code& ec)
{
    for (;;) {
        const auto moved = without_sigpipe([&] {
            const outside_fiber not_ours;
            return ::splice(from.descriptor, nullptr, to.descriptor, nullptr, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        });
        if (moved != -1) {
            ec.clear();
            done_without_waiting();
            return transferred(moved);
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN) {
            ec = system_error(errno);
            return 0;
        }
        if (!wait_for_either(from.descriptor, to.descriptor, ec))
            return 0;
    }
}

std::size_t splicer::move_some(error_code& ec)
{
    if (from_.is_pipe || to_.is_pipe) {
        const auto size = move(from_, to_, piece_size, ec);
        if (size == 0 && !ec.failed())
            ec = error::eof;
        return size;
    }
    if (inside_ == 0) {
        inside_ = move(from_, {between_.writer.native_handle(), true}, piece_size, ec);
        if (inside_ == 0) {
            if (!ec.failed())
                ec = error::eof;
            return 0;
        }
    }
    const auto size = move({between_.reader.native_handle(), true}, to_, inside_, ec);
    inside_ -= size;
    return size;
}

} // namespace coir::net
