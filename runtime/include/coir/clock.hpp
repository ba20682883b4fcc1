// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <chrono>

namespace coir {

/// The time fibers see: monotonic, and virtual where the runtime's driver is (see testing.hpp).
///
/// On a plain thread, and under the Asio driver, it equals std::chrono::steady_clock.
struct clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<clock>;
    static constexpr bool is_steady = true;

    /// Never suspends. Any thread.
    static time_point now() noexcept;
};

/// A deadline that does not come.
inline constexpr clock::time_point never = clock::time_point::max();

/// `duration` from now, rounded up to nanoseconds; `never` where that does not fit.
template <class Rep, class Period> clock::time_point deadline_after(const std::chrono::duration<Rep, Period>& duration)
{
    if (duration <= duration.zero())
        return clock::now();
    const auto now = clock::now();
    if (std::chrono::duration<double>(duration) >= std::chrono::duration<double>(never - now))
        return never;
    return now + std::chrono::ceil<clock::duration>(duration);
}

/// The same instant on coir's clock. Times of an adjustable clock are converted once, now.
template <class Clock, class Duration>
clock::time_point deadline_at(const std::chrono::time_point<Clock, Duration>& instant)
{
    if constexpr (std::is_same_v<Clock, clock>)
        return std::chrono::ceil<clock::duration>(instant);
    else
        return deadline_after(instant - Clock::now());
}

} // namespace coir
