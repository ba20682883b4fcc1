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

void fiber_group::start_member(const fiber_options& options, const fiber_entry& entry, void* callable)
{
    // The group knows its members by name only: each keeps itself alive while it runs, and leaves before it ends.
    start_fiber(options, entry, callable, this)->release();
}

void fiber_group::append(fiber_state& member) noexcept
{
    member.siblings = {nullptr, last_};
    (last_ ? last_->siblings.next : first_) = &member;
    last_ = &member;
}

void fiber_group::unlink(fiber_state& member) noexcept
{
    auto [next, previous] = member.siblings;
    (previous ? previous->siblings.next : first_) = next;
    (next ? next->siblings.previous : last_) = previous;
}

void fiber_group::add(fiber_state& member) noexcept
{
    wait_queue::guard held{lock_};
    const bool too_late = cancelled_;
    member.group = this;
    member.cancelled_by_group = too_late;
    append(member);
    ++size_;
    held.unlock();
    if (too_late)
        member.request_cancel();
}

void fiber_group::ended(fiber_state& member, std::exception_ptr failure) noexcept
{
    wait_queue::guard held{lock_};
    unlink(member);
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

/// In a forked child, where no other thread runs and nobody waits.
void fiber_group::vanished(fiber_state& member) noexcept
{
    unlink(member);
    --size_;
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
    if (auto failure = std::exchange(failure_, nullptr)) // no member is left that could touch it
        std::rethrow_exception(std::move(failure));
    throw_if_interrupted(cause);
}

void fiber_group::cancel() noexcept
{
    wait_queue::guard held{lock_};
    cancelled_ = true;
    // Not under the lock, because it calls the stop callbacks of who knows whom. Meanwhile others come and go; so each
    // goes to the end of the list before it is cancelled, and all have been when the first has been.
    while (first_ && !first_->cancelled_by_group) {
        auto& member = *first_;
        member.cancelled_by_group = true;
        unlink(member);
        append(member);
        member.retain();
        held.unlock();
        member.request_cancel();
        member.release();
        held.lock();
    }
}

} // namespace coir
