// SPDX-License-Identifier: BSL-1.0
#pragma once
// How a call becomes a point at which pthread_cancel ends the thread: a row calls the definition after it, and here is
// looked at what thread_cancellation.hpp keeps, before and after.
//
//     COIR_INTERPOSE int close(int fd)
//     {
//         return point<"close", decltype(::close)>(fd);
//     }
#include "next_definition.hpp"
#include "thread_cancellation.hpp"

namespace coir {

/// What a call may have made when it returns, although it should have been cut off.
inline constexpr auto nothing = [](auto) { return false; };
inline constexpr auto a_descriptor = [](int result) { return result >= 0; };
/// Of calls that nothing cuts off: they do all of what they are to do, and the next point ends the thread.
inline constexpr auto what_is_done = [](auto result) { return result != -1; };

// Part of the row, so that the address is that of who has called it.

/// `Opens`: what it may have made when it returns, although it should have been cut off. `called_from`: null if the
/// call is a point only where it waits.
template <literal Name, class Function, auto Opens, class... Args>
[[gnu::noinline]] auto call_as_point(const void* called_from, Args... args)
{
    auto* const genuine = next<Name, Function>();
    auto* const self = thread_cancellation::own();
    if (!self)
        return genuine(args...);
    if (called_from)
        self->act_if_due(called_from);
    return self->point([&] { return genuine(args...); }, Opens);
}

/// Where threads are threads, a jump and nothing to save before it.
template <literal Name, class Function, auto Opens, class... Args>
[[gnu::always_inline]] inline auto call(const void* called_from, Args... args)
{
    auto* const known = found<Name>.load(std::memory_order_relaxed);
    if (!known || thread_cancellation::any()) [[unlikely]]
        return call_as_point<Name, Function, Opens>(called_from, args...);
    return reinterpret_cast<Function*>(known)(args...);
}

template <literal Name, class Function, auto Opens = nothing, class... Args>
[[gnu::always_inline]] inline auto point(Args... args)
{
    return call<Name, Function, Opens>(__builtin_return_address(0), args...);
}

template <literal Name, class Function, class... Args>
[[gnu::always_inline]] inline auto point_if_it_waits(Args... args)
{
    return call<Name, Function, nothing>(nullptr, args...);
}

} // namespace coir
