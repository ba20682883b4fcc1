// SPDX-License-Identifier: BSL-1.0
#pragma once
// The one place a fiber waits; for writers of primitives. Mutex, channel, join, I/O and the patch's locks all park
// here, so that wake-ups, time-outs and cancellation are decided once.
//
// A wait has one `parking` and a `waiter` in each queue it waits on, all on the stack of who waits:
//
//     stack of the waiting fiber        queues, each guarded by some spin_lock
//     parking  <--- waiter  ----------- wait_queue a  (waiter <-> waiter <-> ...)
//              <--- waiter  ----------- wait_queue b
//
// Whoever wants to end the wait - a notifier on any thread, the timer, a cancellation - claims the parking first, and
// only the winner wakes it. A notifier claims while it holds the queue's lock; so a waiter that its owner has
// removed under that lock is not touched any more, and one that was claimed stays valid until `wake`.
#include <coir/clock.hpp>
#include <coir/spin_lock.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>

namespace coir {

class fiber_state;
class waiter;
class wait_queue;

[[gnu::tls_model("initial-exec")]] extern constinit thread_local fiber_state* current_fiber; // see fiber.hpp

/// Who locks: the fiber, or the thread where there is none. An address that nobody else has.
inline const void* caller_identity() noexcept
{
    return current_fiber ? static_cast<const void*>(current_fiber) : &this_hub_number;
}

/// Why a wait ended.
enum class wake_cause : std::uint8_t {
    notified,  ///< what was waited for has happened
    timed_out, ///< the deadline given for this wait passed
    deadline,  ///< a surrounding `timeout` ran out
    cancelled, ///< the fiber was cancelled
    handled,   ///< the handler of a signal has run, and this wait is one that such ends
};

/// Whether a handler of a signal ends a wait, as it ends system calls (signal(7)). Only waits of fibers that stand for
/// a thread of the program: see signal_wait.hpp.
enum class ends_by_signal : std::uint8_t {
    never,
    unless_restarted, ///< not if the handler was installed with SA_RESTART
    always,
};

/// What a wait is for, as the fiber list and the deadlock report show it.
struct wait_reason {
    const char* what = "something"; ///< a string literal: "mutex", "sleep", "readable"
    const void* object = nullptr;
    int descriptor = -1;
};

struct wait_options {
    wait_reason reason{};
    clock::time_point deadline = never;
    bool interruptible = true; ///< whether cancellation and surrounding timeouts end this wait
    ends_by_signal signals = ends_by_signal::never;
};

/// One suspended wait of the calling fiber, or of the calling thread where there is no fiber.
class parking {
public:
    parking() noexcept : fiber_{current_fiber} {}
    /// For a wait in one queue that nobody but its notifiers, a deadline and cancellation ends: no other thread, and no
    /// handler of a signal. A notifier on the fiber's own hub then claims it without an atomic exchange. The others on
    /// other threads hold the queue's lock as it does, and deadlines and cancellations come on that hub.
    struct in_one_queue {};
    explicit parking(in_one_queue) noexcept
        : fiber_{current_fiber}, notifiers_hub_{current_fiber ? this_hub_number : any_hub}
    {
    }
    parking(const parking&) = delete;
    parking& operator=(const parking&) = delete;

    /// Suspends until the parking has been claimed and woken. At once if it has been already.
    wake_cause park(const wait_options& options) noexcept;

    /// Any thread: true for the first to call it, who then must `wake`.
    bool claim() noexcept { return !claimed_.exchange(true, std::memory_order_acq_rel); }
    /// The same for a notifier, through one of the waiter's places.
    bool claim(waiter& through) noexcept
    {
        if (notifiers_hub_ == this_hub_number) {
            if (claimed())
                return false;
            claimed_.store(true, std::memory_order_relaxed);
        } else if (!claim()) {
            return false;
        }
        taken_ = &through;
        return true;
    }
    /// After `park`: the place through which it was notified; null if something else ended it.
    const waiter* taken() const noexcept { return taken_; }
    /// Somebody has ended the wait, even if the fiber has not run since.
    bool claimed() const noexcept { return claimed_.load(std::memory_order_relaxed); }
    /// Any thread, after `claim`. Never suspends.
    void wake(wake_cause cause = wake_cause::notified) noexcept;

private:
    static constexpr auto any_hub = static_cast<std::uint32_t>(-1);
    wake_cause park_thread(const wait_options& options) noexcept;
    wake_cause park_limited(const wait_options& options) noexcept;

    fiber_state* fiber_;                    ///< null: a plain thread, waiting on `woken_` as a futex
    std::uint32_t notifiers_hub_ = any_hub; ///< whose notifiers need no exchange; nobody's number if that is unknown
    std::atomic<std::uint32_t> woken_{0};
    std::atomic<bool> claimed_{false};
    wake_cause cause_ = wake_cause::notified;
    waiter* taken_ = nullptr;
};

/// A place in one queue. Derive from it to carry what a notifier hands over.
class waiter {
public:
    explicit waiter(parking& owner) noexcept : parking_{&owner} {}
    /// For a wait that begins later: `belong_to` before it is queued.
    waiter() noexcept = default;
    void belong_to(parking& owner) noexcept { parking_ = &owner; }
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;

    /// After a successful `wait_queue::pop`, and without holding the lock.
    void wake() noexcept { parking_->wake(); }

private:
    friend class wait_queue;
    friend class wake_list;
    parking* parking_ = nullptr;
    waiter* next_ = nullptr;
    waiter* previous_ = nullptr;
    bool queued_ = false;
};

/// Waiters that have been claimed and taken out of their queue. They stay where they are until they are woken.
class wake_list {
public:
    std::size_t size() const noexcept { return size_; }
    void add(waiter& last) noexcept;
    /// Not under the lock: who is woken may destroy what it waited for. Returns how many there were.
    std::size_t wake() noexcept;

private:
    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
    std::size_t size_ = 0;
};

/// Who waits, in order of arrival. Every call takes the held lock that guards the queue.
class wait_queue {
public:
    using guard = std::unique_lock<spin_lock>;

    wait_queue() = default;
    wait_queue(const wait_queue&) = delete;
    wait_queue& operator=(const wait_queue&) = delete;

    bool empty() const noexcept { return first_ == nullptr; }
    bool empty(const guard&) const noexcept { return first_ == nullptr; }
    void push(const guard&, waiter& last) noexcept;
    /// Back to where it was: for who has been popped, and then found that somebody else was faster.
    void push_front(const guard&, waiter& first) noexcept;
    /// Takes the waiter out if it is still in: what its owner does after a wait that was not notified.
    void remove(const guard&, waiter& member) noexcept;

    /// Takes out and claims the first waiter that can still be claimed. Wake it after releasing the lock.
    waiter* pop(const guard&) noexcept;
    /// The first waiter for which `accept` returns true, claimed and taken out.
    template <class Accept> waiter* pop_if(const guard&, Accept&& accept);

    /// Parks the caller in this queue and returns with the lock released. `self` must not be queued yet.
    wake_cause wait(guard& held, waiter& self, const wait_options& options) noexcept;
    /// The same where there is nothing to hand over.
    wake_cause wait(guard& held, const wait_options& options) noexcept;

    /// Wake the first, everyone, or up to `most` of those that `accept` takes. They release the lock.
    bool notify_one(guard& held) noexcept;
    void notify_all(guard& held) noexcept;
    template <class Accept>
    std::size_t notify_if(guard& held, Accept&& accept, std::size_t most = static_cast<std::size_t>(-1));
    /// The same in two steps, for who has something to put right in between: wake the list after releasing the lock.
    template <class Accept>
    wake_list take_if(const guard&, Accept&& accept, std::size_t most = static_cast<std::size_t>(-1));
    wake_list take_all(const guard& held) noexcept;

private:
    void unlink(waiter& member) noexcept;

    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
};

inline void wait_queue::push(const guard&, waiter& last) noexcept
{
    last.queued_ = true;
    last.next_ = nullptr;
    last.previous_ = last_;
    (last_ ? last_->next_ : first_) = &last;
    last_ = &last;
}

inline void wait_queue::push_front(const guard&, waiter& first) noexcept
{
    first.queued_ = true;
    first.next_ = first_;
    first.previous_ = nullptr;
    (first_ ? first_->previous_ : last_) = &first;
    first_ = &first;
}

inline void wait_queue::unlink(waiter& member) noexcept
{
    member.queued_ = false;
    (member.previous_ ? member.previous_->next_ : first_) = member.next_;
    (member.next_ ? member.next_->previous_ : last_) = member.previous_;
}

inline void wait_queue::remove(const guard&, waiter& member) noexcept
{
    if (member.queued_)
        unlink(member);
}

inline waiter* wait_queue::pop(const guard&) noexcept
{
    while (first_) {
        auto* candidate = first_;
        unlink(*candidate);
        if (candidate->parking_->claim(*candidate))
            return candidate;
    }
    return nullptr;
}

inline void wake_list::add(waiter& last) noexcept
{
    last.next_ = nullptr;
    (last_ ? last_->next_ : first_) = &last;
    last_ = &last;
    ++size_;
}

inline std::size_t wake_list::wake() noexcept
{
    for (auto* each = first_; each;) {
        auto* following = each->next_; // gone as soon as it has been woken
        each->wake();
        each = following;
    }
    return size_;
}

inline bool wait_queue::notify_one(guard& held) noexcept
{
    auto* first = pop(held);
    held.unlock();
    if (first)
        first->wake();
    return first != nullptr;
}

template <class Accept> waiter* wait_queue::pop_if(const guard&, Accept&& accept)
{
    for (auto* candidate = first_; candidate;) {
        auto* next = candidate->next_;
        if (accept(*candidate)) {
            unlink(*candidate);
            if (candidate->parking_->claim(*candidate))
                return candidate;
        }
        candidate = next;
    }
    return nullptr;
}

template <class Accept> wake_list wait_queue::take_if(const guard&, Accept&& accept, std::size_t most)
{
    wake_list taken;
    for (auto* candidate = first_; candidate && taken.size() < most;) {
        auto* following = candidate->next_;
        if (accept(*candidate)) {
            unlink(*candidate);
            if (candidate->parking_->claim(*candidate))
                taken.add(*candidate);
        }
        candidate = following;
    }
    return taken;
}

inline wake_list wait_queue::take_all(const guard& held) noexcept
{
    return take_if(held, [](const waiter&) { return true; });
}

template <class Accept> std::size_t wait_queue::notify_if(guard& held, Accept&& accept, std::size_t most)
{
    auto taken = take_if(held, accept, most);
    held.unlock();
    return taken.wake();
}

inline wake_cause wait_queue::wait(guard& held, waiter& self, const wait_options& options) noexcept
{
    push(held, self);
    auto& lock = *held.mutex();
    held.unlock();
    const auto cause = self.parking_->park(options);
    if (cause != wake_cause::notified) [[unlikely]] {
        const guard again{lock};
        remove(again, self);
    }
    return cause;
}

/// Suspends the calling fiber, on no queue, until the deadline. What sleeping is made of.
wake_cause park_until(const wait_options& options) noexcept;

/// What a wait that starts now would be ended by: `notified` when nothing stands in its way.
wake_cause pending_interruption() noexcept;

[[noreturn]] void throw_interruption(wake_cause cause);

/// Throws `cancelled` or `timed_out` if that is why the wait ended.
inline void throw_if_interrupted(wake_cause cause)
{
    if (cause == wake_cause::cancelled || cause == wake_cause::deadline) [[unlikely]]
        throw_interruption(cause);
}

} // namespace coir
