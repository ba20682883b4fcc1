// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/clock.hpp>
#include <coir/wait_queue.hpp>

#include <poll.h>
#include <span>

namespace coir::net {

/// How a wait for a descriptor ended.
enum class wait_status {
    ready,       ///< maybe: try the operation, and wait again if it would still block
    timed_out,   ///< the deadline given for this wait passed
    deadline,    ///< a surrounding `timeout` ran out
    cancelled,   ///< the fiber was cancelled
    closed,      ///< somebody closed the descriptor meanwhile
    handled,     ///< the handler of a signal has run: only where asked for
    unsupported, ///< it cannot be waited on here: regular files, virtual time, outside of a fiber
};

/// Suspends the calling fiber until `descriptor` may be ready for one of `events` (POLLIN, POLLOUT, POLLPRI, POLLRDHUP
/// as in poll(2); errors and hang-ups always count). Try the operation first: what is ready already is not reported. In
/// a fiber only. Several fibers, on any hubs, may wait for one descriptor; all are woken.
wait_status wait_ready(int descriptor, short events, clock::time_point deadline = never,
                       ends_by_signal signals = ends_by_signal::never) noexcept;

/// The same for several descriptors; negative ones are passed over, as poll(2) does. `revents` is POLLNVAL in what was
/// closed and 0 in the others: poll again to learn what is ready.
wait_status wait_any_ready(std::span<pollfd> descriptors, clock::time_point deadline = never,
                           ends_by_signal signals = ends_by_signal::never) noexcept;

/// Suspends until the descriptor is ready; not at all if it is already. On a plain thread, blocks that.
/// Throws `cancelled`, `timed_out`, or std::system_error: EBADF if closed meanwhile, EPERM if it cannot be waited on.
void wait_readable(int descriptor);
void wait_writable(int descriptor);

/// Call it before closing a descriptor that fibers may wait for: wakes them with `closed`, while the number still
/// belongs to the old file. Never suspends. Any thread. Cheap for descriptors nobody ever waited for.
void about_to_close(int descriptor) noexcept;

/// The same for every descriptor from `first` to `last`.
void about_to_close_range(unsigned first, unsigned last) noexcept;

} // namespace coir::net
