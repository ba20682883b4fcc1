// SPDX-License-Identifier: BSL-1.0
#pragma once
// An execution and its stack. Switching carries what C and C++ keep per thread and a fiber must own: the registers,
// errno and the state of exception handling (two words that Boost.Context before 1.88 does not save: without them a
// fiber that suspends inside a catch block shares its caught exceptions with every other fiber of the thread).
#include <cstddef>

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

    /// Stores the running execution in `*this` and continues `next`. Returns when somebody switches back.
    void switch_to(context& next, const thread_globals& globals) noexcept;
    /// The same, to one that runs with another thread pointer.
    void switch_to(context& next, const thread_globals& globals, void* thread_pointer) noexcept;
    /// As switch_to, but nobody will switch back. With the same thread pointer, if that is null.
    [[noreturn]] void leave_for(context& next, void* thread_pointer = nullptr) noexcept;

    struct handover;

private:
    void exchange_globals(context& next, const thread_globals& globals) noexcept;
    void arrived_from(context& previous) noexcept;

    void* suspended_ = nullptr; ///< Boost.Context's fcontext_t while it does not run
    int errno_ = 0;
    exception_globals exceptions_;
    void (*entry_)(void*) noexcept = nullptr;
    void* argument_ = nullptr;
    stack_memory memory_;             // what the sanitizers want to be told
    void* fake_stack_ = nullptr;      // AddressSanitizer's
    void* sanitizer_fiber_ = nullptr; // ThreadSanitizer's
};

} // namespace coir
