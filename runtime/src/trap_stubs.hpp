// SPDX-License-Identifier: BSL-1.0
#pragma once
// Where system calls are made that a signal handler cannot make in a program's place: with the caller's registers, and
// back to the caller. x86-64.
#include <cstdint>

extern "C" {
[[gnu::visibility("hidden")]] void coir_trap_stubs();
/// What a handler returns to (SA_RESTORER).
[[gnu::visibility("hidden")]] void coir_trap_restorer();
}

namespace coir {

/// Where to make a call that is to return to `caller`; 0 if there have been too many such places.
std::uintptr_t stub_for(std::uintptr_t caller) noexcept;

} // namespace coir
