// SPDX-License-Identifier: BSL-1.0
#pragma once
// The blocking protocol, once for every call on a descriptor. In a fiber:
//
//     try, in a way that does not block  -- done, or an error -->  return it
//       | EAGAIN
//     did the program itself ask not to block (O_NONBLOCK)?      return EAGAIN
//     wait in the reactor, until ready, or until SO_RCVTIMEO / SO_SNDTIMEO, a coir::timeout, cancellation or a close
//       | ready
//     try again
//
// No flag of a descriptor is ever changed, and nothing about them is relied on that has been remembered: the kernel is
// asked, and only when the call has to wait anyway. So dup, fork, descriptor passing and fclose leave nothing stale. Of
// sockets that are read again and again the last answer holds for a few milliseconds of waiting; see
// socket_answers.hpp.
#include <coir/clock.hpp>
#include <coir/fairness.hpp>
#include <coir/fiber.hpp>
#include <coir/net/readiness.hpp>

#include <cerrno>
#include <cstdint>
#include <sys/types.h>

namespace coir {

enum class direction : std::uint8_t { read, write };

/// Whether the program has left O_NONBLOCK off: mostly asked of the kernel, when it matters.
enum class may_block : std::uint8_t { ask, yes };

/// A call that would have blocked, and what may end it. Made after its first EAGAIN.
class blocked_call {
public:
    blocked_call(int descriptor, direction way, may_block known = may_block::ask) noexcept
        : descriptor_{descriptor}, way_{way}, known_{known}
    {
    }

    /// Suspends until it makes sense to try again. False: the call fails with errno, which is set.
    bool wait() noexcept;
    /// The same before the first try, of a read where nothing has arrived since `seen`; see net/arrival.hpp.
    bool wait_for_arrival(std::uint64_t seen) noexcept;

private:
    bool begin() noexcept;
    bool ask() noexcept;
    net::wait_status wait_until_ready() noexcept;

    int descriptor_;
    direction way_;
    may_block known_;
    bool begun_ = false;
    bool answered_before_ = false; ///< and the kernel not asked this time; see socket_answers.hpp
    unsigned waits_ = 0;
    bool announced_in_vain_ = false;
    clock::time_point deadline_ = never;
};

/// When SO_RCVTIMEO or SO_SNDTIMEO ends a call that begins to wait now; `never` without one, and for what is no socket.
clock::time_point socket_deadline(int descriptor, direction way) noexcept;

/// errno for a wait that was not for nothing: 0 if it is worth another try.
int error_of(net::wait_status status, int on_time_out) noexcept;

/// errno for a wait that something has cut off.
int errno_of(wake_cause cause) noexcept;

/// Suspends for a little, the longer the more `times` it has done so before, up to 10 ms: for what the kernel tells
/// nobody. `ready` when it is worth another try.
net::wait_status wait_unannounced(int descriptor, clock::time_point deadline, unsigned times) noexcept;

/// Waits for a descriptor that the reactor cannot wait for, on a helper thread: epoll has no room, or there is no epoll
/// here.
net::wait_status wait_on_helper(int descriptor, short events, clock::time_point deadline) noexcept;

inline bool would_block(int error) noexcept
{
    return error == EAGAIN; // EWOULDBLOCK is the same number on Linux
}

/// `try_once` is the call in a form that does not block. As with the kernel's own, success leaves errno alone.
template <class Call>
auto blocking(int descriptor, direction way, Call&& try_once, may_block known = may_block::ask) noexcept
{
    const int before = errno;
    auto result = try_once();
    if (result != -1 || !would_block(errno)) [[likely]] {
        done_without_waiting();
        return result;
    }
    for (blocked_call call{descriptor, way, known}; call.wait();) {
        result = try_once();
        if (result != -1 || !would_block(errno))
            break;
    }
    if (result != -1)
        errno = before;
    return result;
}

/// As blocking, for a call that goes on until `enough` bytes are done: `try_from(offset)` does what it can from
/// there. Returns what was done, less than enough only before an end of file or an error, as the kernel does. From 0,
/// which `try_from` may also return to stop, it does not go on.
template <class Call> ssize_t blocking_until(int descriptor, direction way, size_t enough, Call&& try_from) noexcept
{
    const int before = errno;
    ssize_t result = try_from(0);
    if (result > 0 && static_cast<size_t>(result) >= enough) [[likely]] {
        done_without_waiting();
        return result;
    }
    size_t done = 0;
    for (blocked_call call{descriptor, way};; result = try_from(done)) {
        if (result > 0)
            done += static_cast<size_t>(result);
        const bool go_on = result > 0 ? done < enough : result == -1 && would_block(errno) && call.wait();
        if (go_on)
            continue;
        if (done == 0)
            return result;
        errno = before;
        return static_cast<ssize_t>(done);
    }
}

/// The same for all of `size`.
template <class Call> ssize_t blocking_all(int descriptor, direction way, size_t size, Call&& try_from) noexcept
{
    return blocking_until(descriptor, way, size, try_from);
}

} // namespace coir
