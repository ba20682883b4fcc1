// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "call_group.hpp"

#include <coir/fiber.hpp>

/// Before each definition of a libc function. Exported without a version: the dynamic linker takes that for any version
/// that a library asks for, while a version of our own would be taken for none.
#define COIR_INTERPOSE extern "C" __attribute__((visibility("default")))

namespace coir {

/// ThreadSanitizer has a pthread_once of its own making, and takes glibc's barriers for plain memory. Under it, threads
/// use what fibers use, which it can see into.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool under_tsan = true;
#else
inline constexpr bool under_tsan = false;
#endif

/// Not in a fiber, or not patched: exactly libc. The first thing each interposed function asks. Of each file its own.
static inline bool outside() noexcept
{
    constexpr unsigned group = group_of(__BASE_FILE__);
    return !this_fiber::active() || !(patched_groups & group);
}

} // namespace coir
