// SPDX-License-Identifier: BSL-1.0
#include "lock_owner.hpp"

#include <cstdio>
#include <exception>
#include <system_error>

namespace coir {

void terminate_misuse(const char* kind, const char* sentence) noexcept
{
    std::fprintf(stderr, "coir: %s: %s (fiber %llu)\n", kind, sentence,
                 static_cast<unsigned long long>(this_fiber::get_id().value));
    std::terminate();
}

void throw_deadlock(const char* call)
{
    throw std::system_error{std::make_error_code(std::errc::resource_deadlock_would_occur), call};
}

} // namespace coir
