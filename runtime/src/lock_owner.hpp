// SPDX-License-Identifier: BSL-1.0
#pragma once
// To whom a lock belongs, and what is said of those who use one that is not theirs.
#include <coir/fiber.hpp>

namespace coir {

/// Who locks: the fiber, or the thread where there is none. An address that nobody else has.
inline const void* caller_identity() noexcept
{
    thread_local char thread_identity;
    return current_fiber ? static_cast<const void*>(current_fiber) : &thread_identity;
}

/// For misuse: says of which kind of lock, which fiber, and ends the program.
[[noreturn]] void terminate_misuse(const char* kind, const char* sentence) noexcept;
/// The caller waits for itself. Throws std::system_error (resource_deadlock_would_occur).
[[noreturn]] void throw_deadlock(const char* call);

} // namespace coir
