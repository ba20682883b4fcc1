// SPDX-License-Identifier: BSL-1.0
#pragma once
// What a descriptor refers to, as far as trying without blocking goes. Learnt by one fstat at the first read or write
// in a fiber, and forgotten when the number is closed. After a close that nobody saw, a wrong "socket" or "stream" is
// noticed by the kernel's own ENOTSOCK and EOPNOTSUPP and put right; a wrong "file" is not, and blocks the thread.
#include <atomic>
#include <cstdint>

namespace coir {

enum class descriptor_kind : std::uint8_t {
    unknown,
    socket,   ///< MSG_DONTWAIT
    stream,   ///< RWF_NOWAIT: pipes, event and timer descriptors
    event,    ///< an event descriptor that has been written to: RWF_NOWAIT reads it only
    pollable, ///< neither: terminals, named pipes and inotify on some kernels; poll, then call
    file,     ///< never waits in a way that could be waited for elsewhere: regular files, /dev/null
};

inline constexpr unsigned remembered_kinds = 1 << 20; ///< fs.nr_open's default; higher numbers are looked at each time
extern constinit std::atomic<descriptor_kind> kinds[remembered_kinds];

/// None of these suspends or changes errno.
descriptor_kind find_kind(int descriptor) noexcept;
inline descriptor_kind kind_of(int descriptor) noexcept
{
    const auto number = static_cast<unsigned>(descriptor);
    if (number < remembered_kinds) [[likely]]
        if (const auto kind = kinds[number].load(std::memory_order_relaxed); kind != descriptor_kind::unknown)
            [[likely]]
            return kind;
    return find_kind(descriptor);
}
void set_kind(int descriptor, descriptor_kind kind) noexcept;
inline void forget_kind(int descriptor) noexcept
{
    set_kind(descriptor, descriptor_kind::unknown);
}
void forget_kinds(unsigned first, unsigned last) noexcept;
/// Of one whose kind is `stream`, but that RWF_NOWAIT does not write.
descriptor_kind kind_without_nowait(int descriptor) noexcept;

} // namespace coir
