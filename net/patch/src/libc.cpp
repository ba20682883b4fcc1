// SPDX-License-Identifier: BSL-1.0
#include "libc.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <span>

namespace coir {

namespace {

std::span<libc_symbol> all_symbols() noexcept
{
    static_assert(sizeof(libc.read) == sizeof(libc_symbol) && sizeof(libc) % sizeof(libc_symbol) == 0);
    return {reinterpret_cast<libc_symbol*>(&libc), sizeof(libc) / sizeof(libc_symbol)};
}

// Before the initialisers of ordinary libraries (their priority is 65535), so that no first call, which may come from a
// signal handler, has to look a symbol up.
[[gnu::constructor(101)]] void resolve_all() noexcept
{
    for (auto& symbol : all_symbols())
        symbol.resolve();
}

} // namespace

void* libc_symbol::resolve() noexcept
{
    // glibc before 2.36 gives dlsym(RTLD_NEXT) the oldest version of a symbol (BZ #14932); dlvsym is exact. Versions
    // differ between architectures, so a miss falls back to the default.
    bool exact = version_;
#ifdef COIR_UNDER_TSAN
    // Its interceptor, which has no version: who waits for a condition gives the mutex back, and it has to know.
    exact = exact && std::strncmp(name_, "pthread_cond_", std::strlen("pthread_cond_")) != 0;
#endif
    void* found = exact ? ::dlvsym(RTLD_NEXT, name_, version_) : nullptr;
    if (!found)
        found = ::dlsym(RTLD_NEXT, name_);
    if (!found) // loaded after libc, which the self-check is going to say; the first in the order is then the genuine
                // one
        found = ::dlsym(RTLD_DEFAULT, name_);
    if (!found) {
        std::fprintf(stderr, "coir: libc has no %s\n", name_);
        std::abort();
    }
    address_.store(found, std::memory_order_relaxed);
    return found;
}

} // namespace coir
