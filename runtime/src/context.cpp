// SPDX-License-Identifier: BSL-1.0
#include "context.hpp"

#include "sanitizers.hpp"
#include "thread_pointer.hpp"

#include <boost/context/detail/fcontext.hpp>

#include <cerrno>
#include <exception>

namespace __cxxabiv1 {
struct __cxa_eh_globals;
extern "C" __cxa_eh_globals* __cxa_get_globals() noexcept;
} // namespace __cxxabiv1

namespace coir {

using boost::context::detail::transfer_t;

[[noreturn]] void context::start(transfer_t transfer) noexcept
{
    const auto [from, to] = *static_cast<handover*>(transfer.data);
    auto& self = *to;
    from->suspended_ = transfer.fctx;
    self.arrived_from(*from);
    self.entry_(self.argument_);
    std::terminate();
}

/// Called by coir_first_frame.
extern "C" [[noreturn, gnu::visibility("hidden")]] void coir_enter_context(transfer_t transfer) noexcept
{
    context::start(transfer);
}

thread_globals thread_globals::of_this_thread() noexcept
{
    return {&errno, reinterpret_cast<exception_globals*>(__cxxabiv1::__cxa_get_globals())};
}

context::context() noexcept
{
#if COIR_TSAN
    sanitizer_fiber_ = __tsan_get_current_fiber();
#endif
}

context::context(stand_in_for original) noexcept : memory_{original.described.memory_}
{
#if COIR_TSAN
    sanitizer_fiber_ = original.described.sanitizer_fiber_;
#endif
}

void context::describe(const context& active) noexcept
{
    memory_ = active.memory_;
#if COIR_TSAN
    sanitizer_fiber_ = active.sanitizer_fiber_;
#endif
}

context::~context()
{
#if COIR_TSAN
    if (entry_)
        __tsan_destroy_fiber(sanitizer_fiber_);
#endif
}

/// errno and the exceptions of a fiber with a thread pointer of its own need no care. Those of the hub's thread are
/// exchanged all the same: they go by who was last to leave them, which the others do not change.
void context::switch_to(context& next, const thread_globals& globals, void* thread_pointer) noexcept
{
    exchange_globals(next, globals);
    write_thread_pointer(thread_pointer);
    jump_to(next);
}

} // namespace coir
