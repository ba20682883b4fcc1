// SPDX-License-Identifier: BSL-1.0
#pragma once
// Waiting on an address: what a futex is to threads, for fibers and threads alike. Under every pthread lock here, whose
// memory belongs to glibc and has no room for a queue of ours.
//
// No wake-up is lost, because waiter and waker each write before they read what the other writes (Dekker):
//
//     waiter: bucket.waiters + 1, then is it still taken?      waker: give it back, then bucket.waiters != 0?
#include "signal_handlers.hpp"

#include <coir/wait_queue.hpp>

#include <atomic>
#include <cstdint>

namespace coir::parking_lot {

/// One place in a bucket's queue.
struct parked : waiter {
    parked(parking& owner, const void* on, std::uint32_t mask) noexcept : waiter{owner}, address{on}, bits{mask} {}
    const void* address;
    std::uint32_t bits;
};

struct alignas(64) bucket {
    spin_lock guard;
    std::atomic<std::uint32_t> waiters{0}; ///< in the queue, or about to be
    wait_queue queue;
};

bucket& bucket_of(const void* address) noexcept;

/// All that are parked anywhere: spares a waker who is alone in the process the look at its bucket.
inline constinit std::atomic<std::uint32_t> parked_total{0};

inline bool anyone() noexcept
{
#if !defined(__x86_64__) // there, the atomic exchange that gave the lock back was a full barrier already
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
    return parked_total.load(std::memory_order_relaxed) != 0;
}

/// Who counts as waiting, from before it looks at the lock until it has stopped waiting.
class registration {
public:
    explicit registration(bucket& in) noexcept : bucket_{in}
    {
        parked_total.fetch_add(1, std::memory_order_seq_cst);
        bucket_.waiters.fetch_add(1, std::memory_order_seq_cst);
    }
    ~registration()
    {
        bucket_.waiters.fetch_sub(1, std::memory_order_relaxed);
        parked_total.fetch_sub(1, std::memory_order_relaxed);
    }
    registration(const registration&) = delete;
    registration& operator=(const registration&) = delete;

private:
    bucket& bucket_;
};

/// Parks the caller, a fiber or a thread, on `address` if `must_wait()` then still holds. `before_sleep()` is called
/// when it can be woken already; if it returns false the caller does not wait after all. `must_wait` is called under a
/// spin lock: it tries a lock or reads a word, no more.
template <class MustWait, class BeforeSleep>
wake_cause park(const void* address, const wait_options& options, MustWait&& must_wait, BeforeSleep&& before_sleep,
                std::uint32_t bits = ~0U) noexcept
{
    listen_to_handlers();
    auto& here = bucket_of(address);
    const registration counted{here};
    wait_queue::guard held{here.guard};
    if (!must_wait())
        return wake_cause::notified;
    parking self;
    parked place{self, address, bits};
    here.queue.push(held, place);
    held.unlock();
    auto cause = wake_cause::cancelled;
    if (before_sleep() || !self.claim()) // without the claim, a wake-up is on its way and must be awaited
        cause = self.park(options);
    if (cause != wake_cause::notified) {
        held.lock();
        here.queue.remove(held, place);
    }
    return cause;
}

template <class MustWait>
wake_cause park(const void* address, const wait_options& options, MustWait&& must_wait) noexcept
{
    return park(address, options, must_wait, [] { return true; });
}

/// Wakes up to `most` who wait on `address` for one of `bits`. Returns how many. Any thread; never suspends.
/// In a handler of a signal, somebody else will do it, and it returns 0.
std::size_t unpark(const void* address, std::size_t most, std::uint32_t bits = ~0U) noexcept;

/// Wakes everybody. They look again at what they wait for.
void unpark_all() noexcept;

} // namespace coir::parking_lot
