// SPDX-License-Identifier: BSL-1.0
#pragma once
// Try; if it would block, wait; try again. Written once, for every operation on a descriptor. A call is tried in a form
// that does not block: MSG_DONTWAIT, RWF_NOWAIT, or O_NONBLOCK where the descriptor is ours alone.
#include <coir/fairness.hpp>
#include <coir/net/error.hpp>
#include <coir/net/readiness.hpp>

#include <cerrno>
#include <cstddef>

namespace coir::net {

inline error_code system_error(int number) noexcept
{
    return {number, boost::system::system_category()};
}

/// What a wait that ended means for who wants to try again: true, or false with an error. Throws `cancelled` and
/// `timed_out`.
bool may_try_again(wait_status status, error_code& ec);

/// Suspends until the descriptor may be ready; on a plain thread, blocks that. As `may_try_again`.
bool wait_to_try_again(int descriptor, short events, error_code& ec);

/// `call` returns as system calls do: -1 and errno. Suspends while that is EAGAIN. Returns what it returned last.
template <class Call> auto attempt(int descriptor, short events, error_code& ec, Call&& call)
{
    for (;;) {
        const auto result = call();
        if (result != -1) [[likely]] {
            ec.clear();
            done_without_waiting(); // last: once others have run, the descriptor may be somebody else's
            return result;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN) { // EWOULDBLOCK is the same number on Linux
            ec = system_error(errno);
            return result;
        }
        if (!wait_to_try_again(descriptor, events, ec))
            return result;
    }
}

/// How many bytes a transfer has moved; 0 if it has failed.
inline std::size_t transferred(std::ptrdiff_t result) noexcept
{
    return result > 0 ? static_cast<std::size_t>(result) : 0;
}

} // namespace coir::net
