// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "call_group.hpp"

#include <coir/fiber.hpp>

/// Before each definition of a libc function. Exported without a version: the dynamic linker takes that for any version
/// that a library asks for, while a version of our own would be taken for none.
#define COIR_INTERPOSE extern "C" __attribute__((visibility("default")))

namespace coir {

/// Not in a fiber, or not patched: exactly libc. The first thing each interposed function asks. Of each file its own.
static inline bool outside() noexcept
{
    constexpr unsigned group = group_of(__BASE_FILE__);
    return !this_fiber::active() || !(patched_groups & group);
}

} // namespace coir
