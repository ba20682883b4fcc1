// SPDX-License-Identifier: BSL-1.0
#pragma once
// A fiber's control block. It lives at the top of the fiber's own stack, above its callable, so that a parked fiber
// costs one page in all and starting one allocates nothing.
//
//     base                                                                          top of the slot
//     | guard | <- stack grows down ........ first frame | callable | fiber_state | colour |
//
// Owned by reference count: the handle (fiber, group or nobody) has one and the running function has one.
#include "context.hpp"
#include "intrusive_list.hpp"
#include "local_values.hpp"
#include "timer_queue.hpp"

#include <coir/fiber.hpp>
#include <coir/wait_queue.hpp>

#include <atomic>
#include <exception>
#include <optional>
#include <string>

namespace coir {

class context_binding;
class fiber_group;
class scheduler;
class stack_pool;

/// Something for a hub's own thread to do, posted by another. Whoever posts it keeps it alive until it has been done.
struct hub_request {
    using action = void(scheduler& hub, hub_request& self) noexcept;
    explicit hub_request(action* what) noexcept : act{what} {}

    action* act;
    hub_request* next = nullptr;
};

struct fiber_request : hub_request {
    fiber_request(action* what, fiber_state& whom) noexcept : hub_request{what}, fiber{whom} {}
    fiber_state& fiber;
};

/// "what" of an exception, or its type's name.
std::string describe(const std::exception_ptr& failure);

/// What surrounds the code that runs now in a fiber, or outside of fibers on a thread. A coroutine has its own, in
/// front of that of who resumes it.
struct surroundings {
    wait_scope* scope = nullptr;            ///< the innermost; without effect outside of fibers
    const context_binding* bound = nullptr; ///< context_value's; a reference to the newest
    unsigned must_not_suspend = 0;

    static surroundings& of_caller() noexcept;
};

/// Members come in the order of how often they are used: a switch to or from a fiber touches the first cache line of
/// this and the frames of the switch, which are below it; a wait touches the second as well.
class alignas(64) fiber_state : public surroundings {
    std::atomic<bool> cancel_requested_{false};
    std::atomic<scheduler*> hub_{nullptr};

public:
    /// With a null `home` it belongs to no hub yet: one takes it in with `settle`.
    static fiber_state* create(stack_pool& pool, const fiber_options& options, const fiber_entry& entry, void* callable,
                               fiber_id id, scheduler* home);
    void retain() noexcept { life_.fetch_add(one_reference, std::memory_order_relaxed); }
    /// Frees the fiber's stack with the last reference. Not from that stack.
    void release() noexcept
    {
        // Who sees that it holds the only one needs no exchange: nobody is left who could add one.
        if (references(life_.load(std::memory_order_acquire)) == 1 ||
            references(life_.fetch_sub(one_reference, std::memory_order_acq_rel)) == 1)
            destroy();
    }
    /// The same for the reference that the running function had, once its stack has been left for good.
    void release_ended() noexcept;

    /// Any thread. Cancellation reaches a fiber that waits at its hub's next turn.
    void request_cancel() noexcept;
    bool request_stop() noexcept;
    std::stop_token stop_token();
    /// As if it never had been, but for stop tokens: see signal_wait.hpp.
    void forget_cancel() noexcept { cancel_requested_.store(false, std::memory_order_relaxed); }
    bool cancel_requested() const noexcept { return cancel_requested_.load(std::memory_order_relaxed); }

    /// A quick look: false is certain.
    bool may_be_interrupted() const noexcept { return cancel_requested() || scope; }
    /// What ends a wait in `innermost`, and the scopes around it.
    struct wait_limits {
        bool cancelled = false;
        clock::time_point deadline = never;
    };
    wait_limits limits(const wait_scope* innermost) const noexcept;
    /// What a wait would be ended by that starts there now.
    wake_cause interruption(const wait_scope* innermost) const noexcept;
    /// Ends the wait it is in, if it has been cancelled and that may be ended. On its own hub.
    void interrupt_if_cancelled() noexcept;
    /// The same for any thread; its own hub comes to it on its next turn. The fiber must be alive.
    void request_interrupt() noexcept;

    const stack_memory& stack_bytes() const noexcept { return memory_; }
    /// The stack that it runs on now: its own, or that of a coroutine that it has resumed.
    const stack_memory& active_stack() const noexcept { return stack.memory(); }
    [[noreturn]] void terminate(const char* sentence) const noexcept;

    /// From here on it is found waiting.
    void begin_wait(parking& wait, const wait_options& options) noexcept;
    /// In a wait that nobody has ended yet.
    bool waits() const noexcept { return parked && !parked->claimed(); }

    /// Where it lives until it ends; null before a hub has taken it in. Any thread.
    scheduler* home() const noexcept { return hub_.load(std::memory_order_relaxed); }
    scheduler& hub() const noexcept { return *home(); }
    void settle(scheduler& on) noexcept;

    // Used by the scheduler and by what is built beside it; only on the fiber's own hub unless said otherwise.
    context stack; ///< the active one; coroutines exchange what it describes

    parking* parked = nullptr;   ///< the wait it is in
    const wait_options* waiting; ///< of that wait, as is the next
    clock::time_point waiting_since{};
    std::uint64_t wait_number = 0; ///< how many there have been
    struct sleep_timer : timer {
        explicit sleep_timer(fiber_state& owner) noexcept : fiber{owner} {}
        fiber_state& fiber;
    } timer{*this};
    wake_cause timer_cause = wake_cause::timed_out; ///< whose deadline the timer stands for

    const fiber_id id;
    fiber_state* next_ready;   ///< in a list of those that run next, or have not started
    fiber_state* outer_family; ///< see ready_queue
    list_links<fiber_state> all;

    // Posted by other threads: the first by who has claimed its parking, or, to `take_in`, before it has a home; the
    // second under interrupt_posted.
    fiber_request wake_request;
    fiber_request interrupt_request;
    std::atomic<bool> interrupt_posted{false};

    // Who wants to wait for its end takes the lock and calls `watch`. If nobody has, the end needs no lock, and comes
    // together with the release of the reference; who then looks for it finds `has_ended` without a lock.
    spin_lock join_guard;
    wait_queue joiners;         ///< under the lock
    std::exception_ptr failure; ///< its own until it has ended
    bool detached = false;      ///< under the lock

    /// Any thread.
    bool has_ended() const noexcept { return phase(life_.load(std::memory_order_acquire)) == ended_phase; }
    /// Under the lock: from now on its end comes under the lock too. False: it has come.
    bool watch() noexcept
    {
        return phase(life_.load(std::memory_order_relaxed)) == watched ||
               phase(life_.fetch_or(watched, std::memory_order_acq_rel)) == unwatched;
    }
    /// In a forked child: it will not run any more.
    void vanish() noexcept { life_.fetch_or(ended_phase, std::memory_order_relaxed); }

    fiber_group* group = nullptr;
    list_links<fiber_state> siblings; ///< under the group's lock, as is the next
    bool cancelled_by_group = false;

    void* thread_pointer = nullptr; ///< its own; null for that of the hub's thread

    local_values locals; ///< fiber_local's; destroyed on the fiber's own stack

    char name[32]; ///< ends with a zero

private:
    // In one word: whether it has ended, whether anybody watches for that, and how many references there are.
    static constexpr std::uint32_t unwatched = 0;
    static constexpr std::uint32_t watched = 1;
    static constexpr std::uint32_t ended_phase = 2; ///< watched or not
    static constexpr std::uint32_t one_reference = 4;
    static constexpr std::uint32_t phase(std::uint32_t life) noexcept
    {
        return life & ended_phase ? ended_phase : life & watched;
    }
    static constexpr std::uint32_t references(std::uint32_t life) noexcept { return life / one_reference; }

    fiber_state(stack_pool& pool, stack_memory memory, std::byte* top, const fiber_options& options,
                const fiber_entry& entry, fiber_id id, scheduler* home) noexcept;
    static void run(void* self) noexcept;
    void call() noexcept;
    void finish() noexcept;
    void end_under_lock() noexcept;
    void destroy() noexcept;

    std::atomic<std::uint32_t> life_{2 * one_reference};
    spin_lock stop_guard_;
    bool stop_requested_ = false;
    std::optional<std::stop_source> stop_; ///< made when somebody asks for a token: it allocates
    stack_pool& pool_;
    stack_memory memory_;
    const fiber_entry& entry_;
    std::byte* callable_ = nullptr;
};

[[gnu::tls_model("initial-exec")]] extern constinit thread_local surroundings surroundings_of_thread;

inline surroundings& surroundings::of_caller() noexcept
{
    return current_fiber ? *current_fiber : surroundings_of_thread;
}

} // namespace coir
