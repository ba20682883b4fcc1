// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/clock.hpp>

#include <ctime>

namespace coir {

/// An absolute time of a pthread lock, on coir's clock. Null means never. A time that is not valid has passed: the
/// genuine functions, which are asked first, have reported it.
inline clock::time_point lock_deadline(clockid_t which, const timespec* time) noexcept
{
    if (!time)
        return never;
    timespec now{};
    ::clock_gettime(which, &now);
    return deadline_after(std::chrono::seconds{time->tv_sec - now.tv_sec} +
                          std::chrono::nanoseconds{time->tv_nsec - now.tv_nsec});
}

inline bool valid_nanoseconds(const timespec* time) noexcept
{
    return !time || (time->tv_nsec >= 0 && time->tv_nsec < 1'000'000'000);
}

} // namespace coir
