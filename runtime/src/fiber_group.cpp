// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include <coir/fiber_group.hpp>

#include <cstdio>
#include <exception>

namespace coir {

fiber_group::~fiber_group()
{
    const bool unwinding = std::uncaught_exceptions() > 0;
    if (unwinding)
        cancel();
    wait_until_empty(false);
    // While an exception is on its way already, it stands for the scope, and this one gives way to it.
    if (failure_ && !unwinding) {
        std::fprintf(stderr, "coir: a fiber_group was destroyed without a join, and a fiber of it failed: %s\n",
                     describe(failure_).c_str());
        std::terminate();
    }
}

void fiber_group::add(fiber_state* member)
{
    // The new fiber is ready but has not run: this one has not suspended since it was made.
    wait_queue::guard held{lock_};
    member->group = this;
    member->siblings = {members_, nullptr};
    if (members_)
        members_->siblings.previous = member;
    members_ = member;
    ++size_;
    const bool cancel = cancelled_;
    held.unlock();
    if (cancel)
        member->request_cancel();
    member->release(); // it stays in the group by name only, and keeps itself alive while it runs
}

void fiber_group::ended(fiber_state& member, std::exception_ptr failure) noexcept
{
    wait_queue::guard held{lock_};
    auto [next, previous] = member.siblings;
    (previous ? previous->siblings.next : members_) = next;
    if (next)
        next->siblings.previous = previous;
    const bool first_failure = failure && !failure_;
    if (first_failure)
        failure_ = std::move(failure);
    if (first_failure && size_ > 1) {
        held.unlock();
        cancel();
        held.lock();
    }
    if (--size_ == 0)
        joiners_.notify_all(held);
}

wake_cause fiber_group::wait_until_empty(bool interruptible) noexcept
{
    wait_queue::guard held{lock_};
    while (size_ != 0) { // again, because others may have spawned between our wake-up and now
        const auto cause = joiners_.wait(held, {.reason = {"fiber_group", this}, .interruptible = interruptible});
        if (cause != wake_cause::notified)
            return cause;
        held.lock();
    }
    return wake_cause::notified;
}

void fiber_group::join()
{
    const auto cause = wait_until_empty(true);
    if (cause != wake_cause::notified) {
        cancel();
        wait_until_empty(false);
    }
    if (auto failure = std::exchange(failure_, nullptr))
        std::rethrow_exception(std::move(failure));
    throw_if_interrupted(cause);
}

void fiber_group::cancel() noexcept
{
    // Members belong to this hub, and cancelling does not suspend: the list stands still.
    cancelled_ = true;
    for (auto* member = members_; member; member = member->siblings.next)
        member->request_cancel();
}

} // namespace coir
