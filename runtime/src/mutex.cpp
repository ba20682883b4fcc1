// SPDX-License-Identifier: BSL-1.0
#include "lock_owner.hpp"

#include <coir/mutex.hpp>

#include <limits>
#include <system_error>

namespace coir {

// A mutex with waiters is not handed over as it is unlocked, but offered: it is free, and who has waited longest (the
// heir) is woken. `lock` queues behind the heir; `try_lock` may be faster, and the heir then waits on, in front of all.
//
// If it were handed over, an heir that has not run yet would make every try_lock fail. std::lock backs off when a
// try_lock fails, so fibers of one hub that lock three mutexes in different orders would pass them around for ever.

mutex_base::~mutex_base()
{
    if (owner_)
        terminate_misuse("mutex", "destroyed while locked");
}

bool mutex_base::reenter() noexcept
{
    if (reentered_ == std::numeric_limits<std::uint32_t>::max())
        return false;
    ++reentered_;
    return true;
}

wake_cause mutex_base::acquire(clock::time_point deadline, bool interruptible)
{
    const auto* self = caller_identity();
    wait_queue::guard held{guard_, std::adopt_lock};
    if (owner_ == self) {
        if (reentry_ == reentry::refused)
            throw_deadlock("coir::mutex::lock");
        if (!reenter())
            throw std::system_error{std::make_error_code(std::errc::resource_unavailable_try_again),
                                    "coir::recursive_mutex::lock"};
        return wake_cause::notified;
    }
    for (bool again = false;; again = true) {
        parking wait{parking::in_one_queue{}};
        waiter place{wait};
        again ? waiters_.push_front(held, place) : waiters_.push(held, place);
        held.unlock();
        const auto cause = wait.park({.reason = {"mutex", this}, .deadline = deadline, .interruptible = interruptible});
        held.lock();
        if (cause != wake_cause::notified) {
            waiters_.remove(held, place);
            return cause;
        }
        heir_ = false;
        if (!owner_) {
            owner_ = self;
            return wake_cause::notified;
        }
    }
}

bool mutex_base::lock_before(clock::time_point deadline)
{
    if (lock_free_one())
        return true;
    const auto cause = acquire(deadline, true);
    throw_if_interrupted(cause);
    return cause == wake_cause::notified;
}

bool mutex_base::try_lock() noexcept
{
    const auto* self = caller_identity();
    wait_queue::guard held{guard_};
    if (owner_)
        return owner_ == self && reentry_ == reentry::counted && reenter();
    owner_ = self;
    return true;
}

void mutex_base::unlock_slowly() noexcept
{
    wait_queue::guard held{guard_, std::adopt_lock};
    if (owner_ != caller_identity())
        terminate_misuse("mutex", "unlocked by a fiber that does not hold it");
    if (reentered_ > 0) {
        --reentered_;
        return;
    }
    owner_ = nullptr;
    if (heir_)
        return;
    auto* heir = waiters_.pop(held);
    heir_ = heir != nullptr;
    held.unlock();
    if (heir)
        heir->wake();
}

} // namespace coir
