// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include <coir/asio_operation.hpp>
#include <coir/fiber.hpp>
#include <coir/offload.hpp>
#include <coir/outside_fiber.hpp>

#include <algorithm>
#include <stdexcept>

namespace coir {

asio_operation::~asio_operation()
{
    uninstall();
}

// ---- memory ---------------------------------------------------------------------------------------------------------

void* asio_operation::allocate(std::size_t bytes, std::size_t alignment)
{
    if (alignment > alignof(std::max_align_t))
        return ::operator new(bytes, std::align_val_t{alignment});
    if (bytes <= sizeof(place::bytes))
        for (auto& each : places_)
            if (!each.used.load(std::memory_order_relaxed) && !each.used.exchange(true, std::memory_order_acquire))
                return each.bytes;
    return ::operator new(bytes);
}

void asio_operation::deallocate(void* memory, std::size_t alignment) noexcept
{
    // What is on the heap may be given back when the operation is over, and this object gone: only its address is used.
    for (auto& each : places_)
        if (memory == each.bytes)
            return each.used.store(false, std::memory_order_release);
    if (alignment > alignof(std::max_align_t))
        ::operator delete(memory, std::align_val_t{alignment});
    else
        ::operator delete(memory);
}

bool asio_operation::memory_in_use() const noexcept
{
    return std::ranges::any_of(places_, [](auto& each) { return each.used.load(std::memory_order_acquire); });
}

// ---- cancellation ---------------------------------------------------------------------------------------------------

void asio_operation::uninstall() noexcept
{
    auto* const handler = std::exchange(cancel_, nullptr);
    if (!handler)
        return;
    if (static_cast<void*>(handler) == cancel_memory_)
        handler->~cancellation_handler();
    else
        delete handler;
}

void asio_operation::emit() noexcept
{
    {
        const std::lock_guard held{guard_};
        if (done_)
            return;
    }
    const outside_fiber guard;
    // All of them at once: an operation takes those that it supports.
    if (cancel_)
        cancel_->call(boost::asio::cancellation_type::all);
    signal_.emit(boost::asio::cancellation_type::all);
}

bool asio_operation::begin_emission() noexcept
{
    const std::lock_guard held{guard_};
    emitting_ = !done_;
    return emitting_;
}

void asio_operation::end_emission() noexcept
{
    wait_queue::guard held{guard_};
    emitting_ = false;
    waiter_.notify_one(held);
}

// ---- waiting --------------------------------------------------------------------------------------------------------

void asio_operation::check_may_wait()
{
    if (!this_fiber::active() && scheduler::of_this_thread())
        throw std::logic_error{"coir::use_fiber: handlers run between fibers, and must not wait"};
    this_fiber::check_cancelled();
}

void asio_operation::finish(bool abandoned) noexcept
{
    wait_queue::guard held{guard_};
    done_ = true;
    abandoned_ = abandoned;
    waiter_.notify_one(held);
}

wake_cause asio_operation::park(wait_queue::guard& held, bool interruptible) noexcept
{
    const wait_options options{.reason = {interruptible ? "asio operation" : "asio operation to end"},
                               .interruptible = interruptible};
    if (!elsewhere_)
        return waiter_.wait(held, options);
    held.unlock();
    const outside_work counted; // virtual time must not go on, nor is it a deadlock
    held.lock();
    return done_ && !emitting_ ? wake_cause::notified : waiter_.wait(held, options);
}

wake_cause asio_operation::wait() noexcept
{
    wait_queue::guard held{guard_};
    return done_ ? wake_cause::notified : park(held, true);
}

void asio_operation::wait_until_over() noexcept
{
    {
        wait_queue::guard held{guard_};
        while (!done_ || emitting_) {
            park(held, false);
            if (!held)
                held.lock();
        }
    }
    // What is installed may share the ownership of something in the memory.
    uninstall();
    signal_.slot().clear();
    // A thread that has called the handler may still be giving back what it had there.
    while (memory_in_use()) {
        const shield whatever_happens;
        this_fiber::yield();
    }
}

} // namespace coir
