// SPDX-License-Identifier: BSL-1.0
#pragma once
// The descriptors of the first fiber's hub. A program that `coir run` has started may count on low numbers, and closes
// what it has not opened itself: so ours are high, and closing them is an error.

namespace coir::own_descriptors {

/// Between the two, whatever is opened gets a high number and is ours. In forked children, too, the runtime and the
/// reactor make theirs between the two: so the first `begin` comes before there is a runtime, and the first `end` after
/// the reactor's first use. One thread only.
[[gnu::visibility("default")]] void begin() noexcept;
[[gnu::visibility("default")]] void end() noexcept;

bool contain(int descriptor) noexcept;

/// Calls `close(from, to)` for the parts of a range that are not ours.
template <class Close> int around(unsigned first, unsigned last, Close&& close) noexcept;

/// From the first to the last; the last is below the first if there are none.
struct range {
    int first = 0;
    int last = -1;
};
extern constinit range ours;

inline bool contain(int descriptor) noexcept
{
    return ours.first <= descriptor && descriptor <= ours.last;
}

template <class Close> int around(unsigned first, unsigned last, Close&& close) noexcept
{
    const auto low = static_cast<unsigned>(ours.first);
    const auto high = static_cast<unsigned>(ours.last);
    if (ours.last < ours.first || first > high || last < low || first > last)
        return close(first, last);
    if (first < low)
        if (const int failure = close(first, low - 1))
            return failure;
    return last > high ? close(high + 1, last) : 0;
}

} // namespace coir::own_descriptors
