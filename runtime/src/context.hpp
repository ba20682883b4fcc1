// SPDX-License-Identifier: BSL-1.0
#pragma once
// An execution and its stack. Switching carries what C and C++ keep per thread and a fiber must own: the registers,
// errno and the state of exception handling (two words that Boost.Context before 1.88 does not save: without them a
// fiber that suspends inside a catch block shares its caught exceptions with every other fiber of the thread).
#include "sanitizers.hpp"
#include "thread_pointer.hpp"

#include <cstddef>
#include <exception>

#include <boost/context/detail/fcontext.hpp>

namespace coir {

/// Memory for a stack, without its guard page. Grows down from `base + size`.
struct stack_memory {
    std::byte* base = nullptr;
    std::size_t size = 0;
    std::byte* top() const noexcept { return base + size; }
};

/// libstdc++'s and libc++abi's __cxa_eh_globals (Itanium C++ ABI, exception handling, section 2.2.2).
struct exception_globals {
    void* caught_exceptions = nullptr;
    unsigned int uncaught_exceptions = 0;
};

/// Where the running thread keeps errno and the exception state. Fibers do not change threads: looked up once a hub.
struct thread_globals {
    int* error_number;
    exception_globals* exceptions;

    static thread_globals of_this_thread() noexcept;
};

class context {
public:
    /// The execution that is running now, such as the hub's own.
    context() noexcept;
    /// One that is going to call `entry(argument)` on `memory`, below `top`, when first switched to. `entry` must not
    /// return.
    context(stack_memory memory, std::byte* top, void (*entry)(void*) noexcept, void* argument) noexcept;
    context(const context&) = delete;
    context& operator=(const context&) = delete;
    ~context();

    /// For who leaves `described`'s stack for a while by other ways than the scheduler's, and will come back to it.
    struct stand_in_for {
        const context& described;
    };
    explicit context(stand_in_for original) noexcept;

    /// From now on this stands for another stack: the one that runs, or is about to.
    void describe(const context& active) noexcept;
    const stack_memory& memory() const noexcept { return memory_; }

    /// The frames that it goes on with, once the context itself is in the cache.
    void prefetch_frames() const noexcept
    {
        const auto* frames = static_cast<const std::byte*>(suspended_);
        __builtin_prefetch(frames, 1);
        __builtin_prefetch(frames + 64, 1);
        __builtin_prefetch(frames + 128, 1);
    }

    /// Stores the running execution in `*this` and continues `next`. Returns when somebody switches back.
    void switch_to(context& next, const thread_globals& globals) noexcept;
    /// The same, to one that runs with another thread pointer.
    void switch_to(context& next, const thread_globals& globals, void* thread_pointer) noexcept;
    /// As switch_to, but nobody will switch back. With the same thread pointer, if that is null.
    [[noreturn]] void leave_for(context& next, const thread_globals& globals, void* thread_pointer = nullptr) noexcept;

    struct handover;
    [[noreturn]] static void start(boost::context::detail::transfer_t transfer) noexcept;

private:
    void exchange_globals(context& next, const thread_globals& globals) noexcept;
    void jump_to(context& next) noexcept;
    void arrived_from(context& previous) noexcept;

    // What a switch uses comes first: half a cache line.
    void* suspended_ = nullptr; ///< Boost.Context's fcontext_t while it does not run
    exception_globals exceptions_;
    int errno_ = 0;

    void (*entry_)(void*) noexcept = nullptr;
    void* argument_ = nullptr;
    stack_memory memory_;
#if COIR_ASAN
    void* fake_stack_ = nullptr;
#endif
#if COIR_TSAN
    void* sanitizer_fiber_ = nullptr;
#endif
};

/// What one execution tells the next when it hands the thread over. Lives on the stack of the one that leaves.
struct context::handover {
    context* from;
    context* to; ///< for who runs for the first time, and cannot know yet
};

extern "C" [[noreturn, gnu::visibility("hidden")]] void
coir_enter_context(boost::context::detail::transfer_t transfer) noexcept;

// In first_frame.S, for the architectures that it knows.
#if defined(__x86_64__) || defined(__aarch64__)
extern "C" void coir_first_frame(boost::context::detail::transfer_t transfer) noexcept;
#else
inline constexpr auto* coir_first_frame = &coir_enter_context;
#endif

inline context::context(stack_memory memory, std::byte* top, void (*entry)(void*) noexcept, void* argument) noexcept
    : entry_{entry}, argument_{argument}, memory_{memory}
{
    suspended_ =
        boost::context::detail::make_fcontext(top, static_cast<std::size_t>(top - memory.base), coir_first_frame);
#if COIR_TSAN
    sanitizer_fiber_ = __tsan_create_fiber(0);
#endif
}

inline void context::exchange_globals(context& next, const thread_globals& globals) noexcept
{
    exceptions_ = *globals.exceptions;
    errno_ = *globals.error_number;
    *globals.exceptions = next.exceptions_;
    *globals.error_number = next.errno_;
#if COIR_ASAN
    __sanitizer_start_switch_fiber(&fake_stack_, next.memory_.base, next.memory_.size);
#endif
#if COIR_TSAN
    __tsan_switch_to_fiber(next.sanitizer_fiber_, 0);
#endif
}

// Processors predict where a return goes by pairing it with the last call that has not returned. After a call that
// "returns" on another stack every return there is paired with the wrong one. So the way into jump_fcontext is not a
// call: then fibers that wait at the same place, as those of a server do, have their returns predicted. Not with a
// shadow stack, which wants to see a call.
#if defined(__x86_64__) && !defined(__AVX512F__) && !(defined(__CET__) && (__CET__ & 2))
[[gnu::always_inline]] inline boost::context::detail::transfer_t jump(void* to, void* data) noexcept
{
    void* from;
    void* received;
    asm volatile("leaq 1f(%%rip), %%rax\n\t"
                 "pushq %%rax\n\t"
                 "jmp jump_fcontext@PLT\n"
                 "1:"
                 : "=&a"(from), "=&d"(received), "+D"(to), "+S"(data)
                 :
                 : "rcx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory");
    return {from, received};
}
#else
inline boost::context::detail::transfer_t jump(void* to, void* data) noexcept
{
    return boost::context::detail::jump_fcontext(to, data);
}
#endif

inline void context::jump_to(context& next) noexcept
{
    handover baton{this, &next};
    const auto transfer = jump(next.suspended_, &baton);
    // The first thing that an execution does when it gets the thread: to keep where the one before it stopped.
    auto& previous = *static_cast<handover*>(transfer.data)->from;
    previous.suspended_ = transfer.fctx;
    arrived_from(previous);
}

inline void context::switch_to(context& next, const thread_globals& globals) noexcept
{
    exchange_globals(next, globals);
    jump_to(next);
}

inline void context::arrived_from([[maybe_unused]] context& previous) noexcept
{
#if COIR_ASAN
    const void* bottom = nullptr;
    std::size_t size = 0;
    __sanitizer_finish_switch_fiber(fake_stack_, &bottom, &size);
    fake_stack_ = nullptr;
    if (!previous.memory_.base) // a thread's own stack: this is the only way to learn where it lies
        previous.memory_ = {static_cast<std::byte*>(const_cast<void*>(bottom)), size};
#endif
}

inline void context::leave_for(context& next, const thread_globals& globals, void* thread_pointer) noexcept
{
#if COIR_ASAN
    __sanitizer_start_switch_fiber(nullptr, next.memory_.base, next.memory_.size);
#endif
#if COIR_TSAN
    __tsan_switch_to_fiber(next.sanitizer_fiber_, 0);
#endif
    *globals.error_number = next.errno_;
    *globals.exceptions = next.exceptions_;
    handover baton{this, &next};
    if (thread_pointer)
        write_thread_pointer(thread_pointer);
    boost::context::detail::jump_fcontext(next.suspended_, &baton);
    std::terminate();
}

} // namespace coir
