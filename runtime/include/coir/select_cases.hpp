// SPDX-License-Identifier: BSL-1.0
#pragma once
// What a select can wait for, as objects: for a select over a range (select.hpp), which has no handlers. Each refers to
// what it waits for, and may be moved while nobody selects it.
#include <coir/auto_reset_event.hpp>
#include <coir/basic_channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/future.hpp>
#include <coir/select_case.hpp>
#include <coir/semaphore.hpp>

#include <optional>
#include <utility>

namespace coir {

/// Receives from a channel. Refers to it.
template <class T, class Buffer = fifo_buffer<T>> class receive_case : public select_case {
public:
    explicit receive_case(basic_channel<T, Buffer>& from) noexcept
        : select_case{from.guard_, from.receivers_}, from_{&from}
    {
        this->stand_at(place_);
    }
    receive_case(receive_case&& other) noexcept : receive_case{*other.from_} {}

    /// What was received; nothing if the channel is closed and drained. Once, after it was chosen.
    std::optional<T> result() noexcept { return std::exchange(value_, std::nullopt); }

private:
    using channel = basic_channel<T, Buffer>;
    progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept override
    {
        waiter* sender = nullptr;
        const auto progress = from_->receive_now(held, value_, sender);
        if (sender)
            woken.add(*sender);
        return progress == channel::progress::wait ? progress::none : progress::done;
    }

    channel* from_;
    std::optional<T> value_;
    typename channel::receiver place_{value_};
};

/// Sends a value, which stays the caller's and is moved from only if it was sent. Refers to the channel and to the
/// value.
template <class T, class Buffer = fifo_buffer<T>> class send_case : public select_case {
public:
    send_case(basic_channel<T, Buffer>& to, T& value) noexcept
        : select_case{to.guard_, to.senders_}, to_{&to}, value_{&value}
    {
        this->stand_at(place_);
    }
    send_case(send_case&& other) noexcept : send_case{*other.to_, *other.value_} {}

    void result() noexcept {}

protected:
    /// Throws `channel_closed` if that is what has ended the wait.
    void finish() override
    {
        if (place_.value)
            throw channel_closed{};
    }

private:
    using channel = basic_channel<T, Buffer>;
    void prepare() override
    {
        place_.value = value_;
        wait_queue::guard held{to_->guard_};
        if (to_->capacity_ == unbounded && to_->buffer_.full())
            to_->grow(held);
    }
    progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept override
    {
        waiter* receiver = nullptr;
        switch (to_->send_now(held, *value_, receiver)) {
        case channel::progress::wait: return progress::none;
        case channel::progress::grow: return progress::again;
        case channel::progress::closed: return progress::done;
        case channel::progress::done: break;
        }
        place_.value = nullptr;
        if (receiver)
            woken.add(*receiver);
        return progress::done;
    }

    channel* to_;
    T* value_;
    typename channel::sender place_;
};

/// A send with a value of its own.
template <class T, class Buffer = fifo_buffer<T>> class send_copy_case : public send_case<T, Buffer> {
public:
    send_copy_case(basic_channel<T, Buffer>& to, const T& value) : send_case<T, Buffer>{to, copy_}, copy_(value) {}
    send_copy_case(send_copy_case&&) = delete; // what send_case refers to would stay behind

private:
    T copy_;
};

/// Becomes ready when the time has come.
class timer_case : public select_case {
public:
    explicit timer_case(clock::time_point deadline) noexcept : select_case{deadline}, deadline_{deadline} {}
    timer_case(timer_case&& other) noexcept : timer_case{other.deadline_} {}
    void result() noexcept {}

private:
    progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept override;
    clock::time_point deadline_;
};

/// Waits until an event is set.
class event_case : public select_case {
public:
    explicit event_case(event& awaited) noexcept;
    event_case(event_case&& other) noexcept : event_case{*other.awaited_} {}
    void result() noexcept {}

private:
    progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept override;
    event* awaited_;
    waiter place_;
};

/// Waits until an auto_reset_event is set, and resets it.
class auto_reset_event_case : public select_case {
public:
    explicit auto_reset_event_case(auto_reset_event& awaited) noexcept;
    auto_reset_event_case(auto_reset_event_case&& other) noexcept : auto_reset_event_case{*other.awaited_} {}
    void result() noexcept {}

private:
    progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept override;
    auto_reset_event* awaited_;
    waiter place_;
};

/// Acquires one of a semaphore.
class acquire_case : public select_case {
public:
    explicit acquire_case(semaphore_base& from) noexcept;
    acquire_case(acquire_case&& other) noexcept : acquire_case{*other.from_} {}
    void result() noexcept {}

private:
    progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept override;
    semaphore_base* from_;
    waiter place_;
};

/// Waits until a future has its result. The function of a deferred `async` counts as such: `get` calls it.
class ready_case : public select_case {
public:
    /// Throws future_error (no_state).
    template <class T> explicit ready_case(const basic_future<T>& awaited) : ready_case{*awaited.state_} {}
    ready_case(ready_case&& other) noexcept : ready_case{*other.state_} {}
    void result() noexcept {}

private:
    explicit ready_case(future_state_base& state) noexcept;
    progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept override;
    future_state_base* state_;
    waiter place_;
};

/// Waits until a fiber has ended, and does not join it.
class ended_case : public select_case {
public:
    /// Throws std::system_error (invalid_argument) if the fiber is not joinable.
    explicit ended_case(const fiber& awaited);
    ended_case(ended_case&& other) noexcept : ended_case{*other.awaited_} {}
    void result() noexcept {}

private:
    explicit ended_case(fiber_state& awaited) noexcept;
    progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept override;
    fiber_state* awaited_;
    waiter place_;
};

} // namespace coir
