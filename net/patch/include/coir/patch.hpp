// SPDX-License-Identifier: BSL-1.0
#pragma once
// Linked or preloaded, libcoir-patch interposes libc: blocking calls made in a fiber suspend that fiber, in this
// program and in every library it uses. Outside of fibers it is exactly libc. docs/patched-calls.md has each call.
#include <coir/fiber.hpp>

namespace coir::patch {

/// Whether libc's functions really reach the patch: false when the library was loaded too late, after libc, to come
/// first. Checked at start-up, where a miss is fatal unless COIR_PATCH_CHECK=warn. Never suspends.
[[gnu::visibility("default")]] bool active() noexcept;

/// While it lives, the calling fiber's libc calls go straight to libc and block the whole thread, and so do coir's own
/// waits. For the rare code that must not lose the processor.
class [[nodiscard]] bypass {
public:
    bypass() noexcept : fiber_{std::exchange(current_fiber, nullptr)} {}
    ~bypass() { current_fiber = fiber_; }
    bypass(const bypass&) = delete;
    bypass& operator=(const bypass&) = delete;

private:
    fiber_state* fiber_;
};

/// Including this header is what makes a program depend on the library: with --as-needed, which several distributions
/// have as a default, a linker drops a library that only other libraries would use.
[[maybe_unused, gnu::used]] static bool (*const linked)() noexcept = &active;

} // namespace coir::patch
