// SPDX-License-Identifier: BSL-1.0
#pragma once
// A thread of libc's that no kernel thread runs any more, and that a fiber lives in. Nobody but libc knows how to make
// a thread: its stack with a guard, its block of thread_local variables, its place in libc's own lists. So libc makes
// it, and the kernel thread leaves:
//
//     kernel thread of its own        pthread_create, start_thread, begin           gone before pthread_create returns
//     fiber, on the hub's thread      begin, the program's function, destructors    with the thread's own thread
//     pointer kernel thread of its own        end, start_thread                             gives all of it back, and
//     exits
//
// pthread_self, thread_local, errno, stack attributes, cleanup handlers, pthread_exit and detaching are libc's own
// throughout, and so is the freeing of everything. One number in what libc keeps of a thread is not: its kernel id,
// under which a fiber's thread has one that no kernel thread has (so that nothing is sent to it). Where that is kept
// libc tells debuggers (nptl_db), and us.
#include "thread_cancellation.hpp"
#include "thread_end.hpp"

#include <coir/fiber.hpp>
#include <coir/signal_wait.hpp>

#include <ucontext.h>

#include <atomic>
#include <csignal>
#include <pthread.h>

namespace coir {

class thread_shell {
public:
    using function = void* (*)(void*);

    /// Once, in the first fiber. Null, or why it cannot be done here.
    static const char* prepare() noexcept;
    static bool prepared() noexcept;

    /// As pthread_create. In a fiber of the hub that is to run it.
    static int start(pthread_t* thread, const pthread_attr_t* attributes, function what, void* argument) noexcept;

    /// The caller's, if it is such a thread.
    static thread_shell* own() noexcept;
    /// The caller's, main included; null if it is none of the program's threads.
    static thread_end* own_end() noexcept;

    /// What is known of a thread; false if it is none of this kind. As with any pthread_t, the thread must exist.
    class reference {
    public:
        explicit reference(pthread_t thread) noexcept;
        reference(const reference&) = delete;
        reference& operator=(const reference&) = delete;
        ~reference();
        explicit operator bool() const noexcept { return shell_ != nullptr; }
        thread_shell& operator*() const noexcept { return *shell_; }
        thread_shell* operator->() const noexcept { return shell_; }

    private:
        thread_shell* shell_;
    };

    /// As pthread_join and its relatives. Suspends.
    int join(void** result, clock::time_point deadline) noexcept;
    int try_join(void** result) noexcept;
    int detach() noexcept;

    /// Calls `genuine`, which asks the kernel about the thread, with the id of the hub's thread in its place.
    template <class Genuine> auto as_kernel_thread(Genuine&& genuine) noexcept
    {
        const int own = std::exchange(*kernel_id_, hub_kernel_id());
        auto result = genuine();
        *kernel_id_ = own;
        return result;
    }
    /// As the program sees it; fibers share the kernel's.
    sigset_t mask{};
    char name[16] = {};

    const signal_wait& waits() const noexcept { return waits_; }

    thread_cancellation cancellation;
    /// Of any thread that is a fiber, main's too, for as long as it exists; else null.
    static thread_cancellation* cancellation_of(pthread_t thread) noexcept;

    /// Of the kernel thread that runs the fibers.
    static int hub_kernel_id() noexcept;

private:
    thread_shell() = default;
    ~thread_shell() = default;
    void release() noexcept;
    static thread_shell*& of(pthread_t thread) noexcept;
    static void* begin(void* self);
    void leave_kernel_thread() noexcept;
    void inhabit() noexcept;
    void on_kernel_thread() noexcept;
    static void on_end(void* self) noexcept;
    void end() noexcept;
    static void end_of_main() noexcept;

    pthread_t id_{};
    void* thread_pointer_ = nullptr;
    int* kernel_id_ = nullptr;
    function what_ = nullptr;
    void* argument_ = nullptr;
    ucontext_t thread_{};               ///< on its own stack
    ucontext_t fiber_{};                ///< on the stack that the fiber began on
    std::atomic<int> kernel_thread_{1}; ///< 0 when the kernel thread has gone
    bool in_fiber_ = false;
    signal_wait waits_;
    int process_ = 0; ///< in the child of a fork, the others do not exist
    int rounds_ = 0;

    std::atomic<int> references_{2}; ///< until its end, and until it is joined or detached
    thread_end end_;
};

} // namespace coir
