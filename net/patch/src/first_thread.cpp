// SPDX-License-Identifier: BSL-1.0
#include "first_thread.hpp"

#include "next_definition.hpp"
#include "thread_shell.hpp"

#include <new>

namespace coir {

namespace {

constinit first_thread* main_thread = nullptr; // never destroyed: threads may wait for its end while the process exits

} // namespace

bool first_thread::prepare() noexcept
{
    main_thread = new (std::nothrow) first_thread;
    if (!main_thread)
        return false;
    main_thread->id_ = ::pthread_self();
    main_thread->fiber_ = this_fiber::get_id();
    ::pthread_atfork(nullptr, nullptr, [] { main_thread = own(); });
    return true;
}

first_thread* first_thread::of(pthread_t thread) noexcept
{
    return main_thread && ::pthread_equal(thread, main_thread->id_) ? main_thread : nullptr;
}

first_thread* first_thread::own() noexcept
{
    return main_thread && this_fiber::get_id() == main_thread->fiber_ ? main_thread : nullptr;
}

int first_thread::join(void** result, clock::time_point deadline) noexcept
{
    return end.join(thread_shell::own_end(), deadline, [&] { return take(result); });
}

int first_thread::try_join(void** result) noexcept
{
    return end.try_join([&] { return take(result); });
}

int first_thread::detach() noexcept
{
    const int error = next<"pthread_detach", decltype(::pthread_detach)>()(id_);
    if (error == 0)
        end.detach();
    return error;
}

} // namespace coir
