// SPDX-License-Identifier: BSL-1.0
#pragma once
// For writers of operations that wait only if they must, such as reads: one that never has to wait, because its other
// side is always as fast, would keep the thread for good.
#include <coir/fiber.hpp>

namespace coir {

/// How many operations in a row the fibers of a hub do without any of them waiting, until the next gives way.
inline constexpr int operations_in_a_row = 128;

/// What is left of them; each wait of a fiber makes it whole again.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local int operations_left;

/// Whether the caller is in a fiber and not inside a no_suspend. Never suspends.
bool may_suspend() noexcept;

/// Lets every other fiber that is ready, and after a few times time and I/O, have a turn. Not inside a no_suspend, nor
/// outside of fibers. Suspends; is not ended by cancellation or deadlines, and never throws.
void give_way() noexcept;

/// Call it at the end of an operation that might have waited, and has not. Suspends the one time in 128; see give_way.
inline void done_without_waiting() noexcept
{
    if (--operations_left <= 0) [[unlikely]]
        give_way();
}

} // namespace coir
