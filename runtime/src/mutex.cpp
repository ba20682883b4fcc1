// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/mutex.hpp>

#include <cstdio>
#include <exception>
#include <system_error>

namespace coir {

namespace {

/// Who locks: the fiber, or the thread where there is none. An address that nobody else has.
const void* caller_identity() noexcept
{
    thread_local char thread_identity;
    return current_fiber ? static_cast<const void*>(current_fiber) : &thread_identity;
}

/// What stands in a waiter's place in the queue: to whom the mutex is handed over.
struct locker : waiter {
    locker(parking& owner, const void* who) noexcept : waiter{owner}, identity{who} {}
    const void* identity;
};

[[noreturn]] void terminate(const char* sentence) noexcept
{
    std::fprintf(stderr, "coir: mutex: %s (fiber %llu)\n", sentence,
                 static_cast<unsigned long long>(this_fiber::get_id().value));
    std::terminate();
}

} // namespace

mutex::~mutex()
{
    if (owner_)
        terminate("destroyed while locked");
}

wake_cause mutex::acquire(bool interruptible)
{
    const auto* self = caller_identity();
    wait_queue::guard held{guard_};
    if (!owner_) {
        owner_ = self;
        return wake_cause::notified;
    }
    if (owner_ == self)
        throw std::system_error{std::make_error_code(std::errc::resource_deadlock_would_occur), "coir::mutex::lock"};
    parking wait;
    locker place{wait, self};
    return waiters_.wait(held, place, {.reason = {"mutex", this}, .interruptible = interruptible});
}

void mutex::lock()
{
    throw_if_interrupted(acquire(true));
}

void mutex::lock_uninterrupted() noexcept
{
    acquire(false);
}

bool mutex::try_lock() noexcept
{
    wait_queue::guard held{guard_};
    if (owner_)
        return false;
    owner_ = caller_identity();
    return true;
}

void mutex::unlock() noexcept
{
    wait_queue::guard held{guard_};
    if (owner_ != caller_identity())
        terminate("unlocked by a fiber that does not hold it");
    auto* next = static_cast<locker*>(waiters_.pop(held));
    owner_ = next ? next->identity : nullptr;
    held.unlock();
    if (next)
        next->wake();
}

} // namespace coir
