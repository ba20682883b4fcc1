// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <ctime>

namespace coir {

/// A duration that the kernel would take: not negative, and less than a second of nanoseconds (nanosleep(2)).
inline bool valid(const timespec& time) noexcept
{
    return time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < 1'000'000'000;
}

} // namespace coir
