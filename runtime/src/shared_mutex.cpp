// SPDX-License-Identifier: BSL-1.0
#include "lock_owner.hpp"

#include <coir/shared_mutex.hpp>

namespace coir {

// Readers are handed the mutex: who wakes them counts them in. To a writer it is offered, as in mutex.cpp and for the
// same reason; until it has looked, `heir_` keeps all out but a try_lock.

shared_mutex_base::~shared_mutex_base()
{
    if (writer_ || inside_ > 0)
        terminate_misuse("shared_mutex", "destroyed while locked");
}

wake_list shared_mutex_base::admit_readers(const wait_queue::guard& held) noexcept
{
    auto admitted = readers_.take_if(
        held, [](const waiter&) { return true; }, static_cast<std::size_t>(-1));
    inside_ += admitted.size();
    return admitted;
}

/// Wakes the writer whose turn it is; the readers if there is none. Releases the lock.
void shared_mutex_base::offer(wait_queue::guard& held) noexcept
{
    auto* heir = writers_.pop(held);
    heir_ = heir != nullptr;
    wake_list admitted;
    if (!heir)
        admitted = admit_readers(held);
    held.unlock();
    if (heir)
        heir->wake();
    admitted.wake();
}

bool shared_mutex_base::lock_before(clock::time_point deadline)
{
    const auto* self = caller_identity();
    wait_queue::guard held{guard_};
    if (!writer_ && inside_ == 0 && !heir_) {
        writer_ = self;
        return true;
    }
    if (writer_ == self)
        throw_deadlock("coir::shared_mutex::lock");
    for (bool again = false;; again = true) {
        parking wait{parking::in_one_queue{}};
        waiter place{wait};
        again ? writers_.push_front(held, place) : writers_.push(held, place);
        held.unlock();
        const auto cause = wait.park({.reason = {"shared_mutex", this}, .deadline = deadline});
        held.lock();
        if (cause != wake_cause::notified) {
            writers_.remove(held, place);
            if (readers_may_enter()) { // they may have been waiting behind us
                auto admitted = admit_readers(held);
                held.unlock();
                admitted.wake();
            }
            throw_if_interrupted(cause);
            return false;
        }
        heir_ = false;
        if (!writer_ && inside_ == 0) {
            writer_ = self;
            return true;
        }
    }
}

bool shared_mutex_base::try_lock() noexcept
{
    wait_queue::guard held{guard_};
    if (writer_ || inside_ > 0)
        return false;
    writer_ = caller_identity();
    return true;
}

void shared_mutex_base::unlock() noexcept
{
    wait_queue::guard held{guard_};
    if (writer_ != caller_identity())
        terminate_misuse("shared_mutex", "unlocked by a fiber that does not hold it");
    writer_ = nullptr;
    auto admitted = admit_readers(held);
    if (admitted.size() == 0 && !heir_)
        return offer(held);
    held.unlock();
    admitted.wake();
}

bool shared_mutex_base::lock_shared_before(clock::time_point deadline)
{
    wait_queue::guard held{guard_};
    if (readers_may_enter()) {
        ++inside_;
        return true;
    }
    if (writer_ == caller_identity())
        throw_deadlock("coir::shared_mutex::lock_shared");
    const auto cause = readers_.wait(held, {.reason = {"shared_mutex, shared", this}, .deadline = deadline});
    throw_if_interrupted(cause);
    return cause == wake_cause::notified;
}

bool shared_mutex_base::try_lock_shared() noexcept
{
    wait_queue::guard held{guard_};
    if (!readers_may_enter())
        return false;
    ++inside_;
    return true;
}

void shared_mutex_base::unlock_shared() noexcept
{
    wait_queue::guard held{guard_};
    if (inside_ == 0)
        terminate_misuse("shared_mutex", "unlocked, but nobody holds it shared");
    if (--inside_ == 0 && !heir_)
        offer(held);
}

void shared_mutex_base::lock()
{
    lock_before(never);
}

void shared_mutex_base::lock_shared()
{
    lock_shared_before(never);
}

} // namespace coir
