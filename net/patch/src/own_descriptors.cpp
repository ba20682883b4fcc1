// SPDX-License-Identifier: BSL-1.0
// The hubs' descriptors are recognised when they are opened: the runtime says when it opens its own, and calls libc
// like everybody else. Those that the patch opens itself it passes to `keep`.
#include "own_descriptors.hpp"

#include "libc.hpp"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

namespace coir {

namespace {

/// Above what shells use for themselves (bash: 255), or below the highest that there can be.
int lowest() noexcept
{
    constexpr rlim_t preferred = 300;
    constexpr rlim_t room = 12; // what one hub has, and a few waits
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return static_cast<int>(std::max<rlim_t>(std::min(limit.rlim_cur, preferred + room), room + 3) - room);
}

} // namespace

int own_descriptors::keep(int descriptor) noexcept
{
    if (descriptor < 0)
        return descriptor;
    const int before = errno;
    const int least = lowest();
    if (descriptor < least) {
        const int moved = ::fcntl(descriptor, F_DUPFD_CLOEXEC, least);
        if (moved >= 0) {
            libc.close(descriptor);
            descriptor = moved;
        }
    }
    errno = before;
    const auto number = static_cast<unsigned>(descriptor);
    if (number < most)
        ours[number / word_bits].fetch_or(std::uint64_t{1} << number % word_bits, std::memory_order_relaxed);
    return descriptor;
}

void own_descriptors::forget(int descriptor) noexcept
{
    const auto number = static_cast<unsigned>(descriptor);
    if (number < most)
        ours[number / word_bits].fetch_and(~(std::uint64_t{1} << number % word_bits), std::memory_order_relaxed);
}

} // namespace coir
