// SPDX-License-Identifier: BSL-1.0
#pragma once
// To whom a lock belongs, and what is said of those who use one that is not theirs.
#include <coir/fiber.hpp>
#include <coir/wait_queue.hpp>

namespace coir {

/// For misuse: says of which kind of lock, which fiber, and ends the program.
[[noreturn]] void terminate_misuse(const char* kind, const char* sentence) noexcept;
/// The caller waits for itself. Throws std::system_error (resource_deadlock_would_occur).
[[noreturn]] void throw_deadlock(const char* call);

} // namespace coir
