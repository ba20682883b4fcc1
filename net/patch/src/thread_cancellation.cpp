// SPDX-License-Identifier: BSL-1.0
#include "thread_cancellation.hpp"

#include "first_thread.hpp"
#include "next_definition.hpp"
#include "thread_shell.hpp"

#include <coir/fiber.hpp>

#include <cstring>
#include <dlfcn.h>
#include <utility>

namespace coir {

namespace {

thread_cancellation main_cancellation;

bool is_of_coir(const void* code) noexcept
{
    Dl_info found;
    return ::dladdr(code, &found) != 0 && found.dli_fname && std::strstr(found.dli_fname, "/libcoir");
}

} // namespace

void thread_cancellation::prepare_main() noexcept
{
    main_cancellation.belong_to(signal_wait::of_this_fiber());
    prepared_ = true;
}

thread_cancellation* thread_cancellation::of_main() noexcept
{
    return thread_shell::prepared() ? &main_cancellation : nullptr;
}

thread_cancellation* thread_cancellation::find_own() noexcept
{
    if (!thread_shell::prepared() || !this_fiber::active())
        return nullptr;
    auto* const shell = thread_shell::own();
    return shell ? &shell->cancellation : &main_cancellation;
}

void thread_cancellation::request() noexcept
{
    requested_ = true;
    if (!is_due() || points_ == 0)
        return;
    cut_off_ = true;
    waits_.cancel();
}

bool thread_cancellation::enable(bool on) noexcept
{
    return std::exchange(enabled_, on);
}

bool thread_cancellation::set_asynchronous(bool on) noexcept
{
    return std::exchange(asynchronous_, on);
}

void thread_cancellation::act_if_due(const void* called_from)
{
    if (is_due() && points_ == 0 && !is_of_coir(called_from)) [[unlikely]]
        act();
}

void thread_cancellation::act_if_due_asynchronously()
{
    if (asynchronous_ && is_due())
        act();
}

void thread_cancellation::leave(bool goes_on)
{
    cut_off_ = false;
    waits_.forget_cancel();
    if (!goes_on)
        act();
}

/// A thread that cancels itself is not signalled. It is marked, and looks.
void thread_cancellation::act()
{
    auto* const cancel = next<"pthread_cancel", decltype(::pthread_cancel)>();
    auto* const look = next<"pthread_testcancel", decltype(::pthread_testcancel)>();
    ending_ = true;
    if (auto* const main = first_thread::own())
        main->ends_with(PTHREAD_CANCELED);
    cancel(::pthread_self());
    look();
    __builtin_unreachable();
}

} // namespace coir
