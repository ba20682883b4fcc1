// SPDX-License-Identifier: BSL-1.0
// `coir run --threads=fibers`: the calls by which a thread is told to end, and by which it ends. Where it is, once it
// has been told, is in cancellation_points.cpp.
#include "first_thread.hpp"
#include "interpose.hpp"
#include "next_definition.hpp"
#include "thread_cancellation.hpp"
#include "thread_shell.hpp"

#include <cerrno>
#include <cstdint>
#include <pthread.h>
#include <threads.h>

namespace coir {

namespace {

void ends_with(void* result) noexcept
{
    if (auto* const self = thread_cancellation::own())
        self->end();
    if (auto* const main = first_thread::own())
        main->ends_with(result);
}

} // namespace

COIR_INTERPOSE int pthread_cancel(pthread_t thread)
{
    if (auto* const self = thread_cancellation::own(); self && ::pthread_equal(thread, ::pthread_self())) {
        self->request();
        self->act_if_due_asynchronously();
        return 0;
    }
    if (auto* const other = thread_shell::cancellation_of(thread)) {
        other->request();
        return 0;
    }
    return next<"pthread_cancel", decltype(::pthread_cancel)>()(thread);
}

COIR_INTERPOSE void pthread_testcancel()
{
    if (auto* const self = thread_cancellation::own())
        self->act_if_due(__builtin_return_address(0));
    else
        next<"pthread_testcancel", decltype(::pthread_testcancel)>()();
}

COIR_INTERPOSE int pthread_setcancelstate(int state, int* before)
{
    auto* const self = thread_cancellation::own();
    const int error = next<"pthread_setcancelstate", decltype(::pthread_setcancelstate)>()(state, before);
    if (self && error == 0) {
        self->enable(state == PTHREAD_CANCEL_ENABLE);
        self->act_if_due_asynchronously();
    }
    return error;
}

/// Not told to libc, which would wait in its calls for a signal that nobody sends.
COIR_INTERPOSE int pthread_setcanceltype(int type, int* before)
{
    auto* const self = thread_cancellation::own();
    if (!self)
        return next<"pthread_setcanceltype", decltype(::pthread_setcanceltype)>()(type, before);
    if (type != PTHREAD_CANCEL_DEFERRED && type != PTHREAD_CANCEL_ASYNCHRONOUS)
        return EINVAL;
    const bool was = self->set_asynchronous(type == PTHREAD_CANCEL_ASYNCHRONOUS);
    if (before)
        *before = was ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
    self->act_if_due_asynchronously();
    return 0;
}

COIR_INTERPOSE void pthread_exit(void* result)
{
    ends_with(result);
    next<"pthread_exit", decltype(::pthread_exit)>()(result);
    __builtin_unreachable();
}

COIR_INTERPOSE void thrd_exit(int result)
{
    ends_with(reinterpret_cast<void*>(static_cast<std::intptr_t>(result)));
    next<"thrd_exit", decltype(::thrd_exit)>()(result);
    __builtin_unreachable();
}

} // namespace coir
