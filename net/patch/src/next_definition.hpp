// SPDX-License-Identifier: BSL-1.0
#pragma once
// The definition of a function after this library's own, which is libcoir-patch's or libc's.
//
//     next<"pthread_detach", decltype(::pthread_detach)>()(thread)
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <dlfcn.h>

namespace coir {

/// A name as a template argument.
template <std::size_t Size> struct literal {
    char text[Size];
    consteval literal(const char (&from)[Size]) { std::copy_n(from, Size, text); }
};

/// Null until it has been looked for.
template <literal Name> inline constinit std::atomic<void*> found{nullptr};

template <literal Name, class Function> Function* next() noexcept
{
    auto* known = found<Name>.load(std::memory_order_relaxed);
    if (!known) {
        known = ::dlsym(RTLD_NEXT, Name.text);
        found<Name>.store(known, std::memory_order_relaxed);
    }
    return reinterpret_cast<Function*>(known);
}

} // namespace coir
