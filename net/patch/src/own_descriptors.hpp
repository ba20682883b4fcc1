// SPDX-License-Identifier: BSL-1.0
#pragma once
// The numbers of coir's own descriptors. A program may close what it has not opened itself, and may count on low
// numbers: so ours are high, and to close one is the error that it would be if it were not there.
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace coir::own_descriptors {

/// Moves a descriptor that has just been opened out of the way and remembers it. Returns what it is now; errors, which
/// are below 0, as they are. It must be close-on-exec.
int keep(int descriptor) noexcept;
/// Before it is closed.
void forget(int descriptor) noexcept;
bool contain(int descriptor) noexcept;

/// Calls `close(from, to)` for the parts of a range that are not ours, until that returns something else than 0.
template <class Close> int around(unsigned first, unsigned last, Close&& close) noexcept;

inline constexpr unsigned most = 1 << 16; ///< no descriptor from here on is ever ours
inline constexpr unsigned word_bits = 64;
inline constinit std::array<std::atomic<std::uint64_t>, most / word_bits> ours{};

inline bool contain(int descriptor) noexcept
{
    const auto number = static_cast<unsigned>(descriptor);
    return number < most && ours[number / word_bits].load(std::memory_order_relaxed) >> number % word_bits & 1;
}

/// The first of ours from `number` on; `most` if there is none.
inline unsigned next(unsigned number) noexcept
{
    while (number < most) {
        const auto rest = ours[number / word_bits].load(std::memory_order_relaxed) >> number % word_bits;
        if (rest != 0)
            return number + static_cast<unsigned>(std::countr_zero(rest));
        number = (number / word_bits + 1) * word_bits;
    }
    return most;
}

template <class Close> int around(unsigned first, unsigned last, Close&& close) noexcept
{
    if (first > last)
        return close(first, last); // for the kernel to refuse
    while (first <= last) {
        const unsigned mine = next(first);
        if (mine >= most || mine > last)
            return close(first, last);
        if (first < mine)
            if (const int failure = close(first, mine - 1))
                return failure;
        first = mine + 1;
    }
    return 0;
}

} // namespace coir::own_descriptors
