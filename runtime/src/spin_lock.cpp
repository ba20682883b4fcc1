// SPDX-License-Identifier: BSL-1.0
// A lock that belongs to a hub is taken by Dekker's protocol, of which the owner does the cheap half:
//
//     owner                                   who wants it too
//     inside_ = true                          owner_ = revoked
//     (no fence: the compiler is held back)   membarrier(2): every thread of the process has had a fence
//     if (owner_ != me) back out              wait until inside_ is false; then owner_ = everybody
//
// Whatever the owner was doing when the barrier reached it: either its store is visible, and is waited for; or its
// store comes after the barrier, and so does its second look at owner_, which sends it away. From then on the lock is
// an ordinary one. Nobody uses `held_` before, and `inside_` means nothing afterwards.
#include "lock_ownership.hpp"
#include "raw_syscall.hpp"
#include "sanitizers.hpp"

#include <coir/spin_lock.hpp>

#include <linux/membarrier.h>
#include <sys/syscall.h>

#include <cerrno>
#include <ctime>

namespace coir {

constinit thread_local std::uint32_t this_hub_number = 0;

namespace {

/// A program that keeps passing new locks on to other threads is better off without owners.
constexpr unsigned most_revocations = 1000;
constinit std::atomic<unsigned> revocations{0};

constinit std::atomic<bool> barrier_registered{false};

bool register_barrier() noexcept
{
    return raw_syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

/// Returns when every other thread of the process has executed a full memory barrier meanwhile.
void barrier_on_all_threads() noexcept
{
    long result = raw_syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    if (result == -EPERM && register_barrier()) // in a child of fork
        result = raw_syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    if (result == 0)
        return;
    // Forbidden since: by a seccomp filter. No processor keeps a store from others for as long as this; a thread that
    // loses its processor executes a barrier.
    timespec left{.tv_sec = 0, .tv_nsec = 1'000'000};
    while (raw_syscall(SYS_nanosleep, reinterpret_cast<long>(&left), reinterpret_cast<long>(&left)) == -EINTR) {}
}

bool may_have_owner() noexcept
{
    return this_hub_number != 0 && barrier_registered.load(std::memory_order_relaxed) &&
           revocations.load(std::memory_order_relaxed) < most_revocations;
}

void lend_processor(int tries) noexcept
{
    // What it guards takes nanoseconds: if it is not free soon, its holder has lost the processor; lend it ours.
    if (tries >= 100)
        raw_syscall(SYS_sched_yield);
}

} // namespace

void prepare_lock_owners() noexcept
{
    // ThreadSanitizer does not know what a membarrier orders.
    if (!COIR_TSAN && !barrier_registered.load(std::memory_order_relaxed) && register_barrier())
        barrier_registered.store(true, std::memory_order_relaxed);
}

void spin_lock::wait_until_free() noexcept
{
    for (int tries = 0; held_.load(std::memory_order_relaxed); ++tries)
        lend_processor(tries);
}

/// Until it is everybody's, or the caller's own: true and false.
bool spin_lock::open_to_everybody() noexcept
{
    for (int tries = 0;; ++tries) {
        auto owner = owner_.load(std::memory_order_acquire);
        if (owner == everybody)
            return true;
        if (owner == this_hub_number)
            return false;
        if (owner == nobody)
            owner_.compare_exchange_strong(owner, may_have_owner() ? this_hub_number : everybody,
                                           std::memory_order_acq_rel);
        else if (owner == revoked)
            lend_processor(tries);
        else
            revoke(owner);
    }
}

void spin_lock::revoke(std::uint32_t owner) noexcept
{
    if (!owner_.compare_exchange_strong(owner, revoked, std::memory_order_acq_rel))
        return; // somebody else does it
    revocations.fetch_add(1, std::memory_order_relaxed);
    barrier_on_all_threads();
    for (int tries = 0; inside_.load(std::memory_order_acquire); ++tries)
        lend_processor(tries);
    owner_.store(everybody, std::memory_order_release);
}

void spin_lock::lock_slowly() noexcept
{
    for (;;) {
        if (!open_to_everybody()) {
            if (enter())
                return;
            continue;
        }
        if (!held_.exchange(true, std::memory_order_acquire))
            return;
        wait_until_free();
    }
}

bool spin_lock::try_lock() noexcept
{
    while (!open_to_everybody()) {
        if (inside_.load(std::memory_order_relaxed))
            return false;
        if (enter())
            return true;
    }
    return !held_.exchange(true, std::memory_order_acquire);
}

} // namespace coir
