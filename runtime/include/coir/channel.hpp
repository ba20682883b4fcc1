// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

namespace coir {

/// Thrown by `channel::send` when the channel is closed.
class channel_closed : public std::logic_error {
public:
    channel_closed() : std::logic_error{"coir::channel: send on a closed channel"} {}
};

/// A queue between fibers. Capacity 0 hands over: a send then ends when the value has been received.
///
/// Values arrive in the order they were sent; waiting senders and receivers are served in order of arrival. After
/// `close`, what was sent can still be received. T moves without throwing. Works between fibers, hubs and plain
/// threads.
///
///     coir::channel<int> numbers{16};
///     coir::fiber producer{[&] { for (int i = 0; i < 100; ++i) numbers.send(i); numbers.close(); }};
///     for (int number : numbers) ...
template <class T> class channel {
    static_assert(std::is_nothrow_move_constructible_v<T>, "a channel moves values under its lock");

public:
    explicit channel(std::size_t capacity = 0)
        : ring_{capacity ? std::make_unique<slot[]>(capacity) : nullptr}, capacity_{capacity}
    {
    }
    channel(const channel&) = delete;
    channel& operator=(const channel&) = delete;
    ~channel()
    {
        while (size_ > 0)
            take();
    }

    /// Suspends while the channel is full. Throws `channel_closed`, `cancelled`, `timed_out`; the value was then not
    /// sent.
    void send(T value) { send_before(value, never); }
    /// Never suspends. False if it would have to wait; `value` is moved from only if it was sent.
    bool try_send(T& value);
    bool try_send(T&& value) { return try_send(value); }
    /// False if the time ran out first.
    template <class Rep, class Period> bool send_for(T value, const std::chrono::duration<Rep, Period>& limit)
    {
        return send_before(value, deadline_after(limit));
    }

    /// Suspends while the channel is empty. Nothing once it is closed and drained. Throws `cancelled`, `timed_out`.
    std::optional<T> receive() { return receive_before(never); }
    /// Nothing if there is no value now. Never suspends.
    std::optional<T> try_receive();
    /// Nothing if the time ran out, or the channel is closed and drained.
    template <class Rep, class Period> std::optional<T> receive_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return receive_before(deadline_after(limit));
    }

    /// No more can be sent; waiting senders throw `channel_closed`. Never suspends. Twice is fine.
    void close() noexcept;
    bool is_closed() const noexcept
    {
        std::lock_guard held{guard_};
        return closed_;
    }

    std::size_t capacity() const noexcept { return capacity_; }
    std::size_t size() const noexcept
    {
        std::lock_guard held{guard_};
        return size_;
    }

    class iterator;
    /// Receives until the channel is closed and drained. The first `receive` happens here.
    iterator begin() { return iterator{*this}; }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    struct slot {
        alignas(T) std::byte bytes[sizeof(T)];
    };
    struct sender : waiter {
        sender(parking& owner, T& from) noexcept : waiter{owner}, value{&from} {}
        T* value; ///< null once it has been taken
    };
    struct receiver : waiter {
        explicit receiver(parking& owner) noexcept : waiter{owner} {}
        std::optional<T> value;
    };

    void put(T& value) noexcept
    {
        ::new (&ring_[(first_ + size_) % capacity_]) T(std::move(value));
        ++size_;
    }
    T take() noexcept
    {
        T* oldest = std::launder(reinterpret_cast<T*>(&ring_[first_]));
        T value = std::move(*oldest);
        oldest->~T();
        first_ = (first_ + 1) % capacity_;
        --size_;
        return value;
    }

    /// These two hold the protocol. They release the lock if they succeed.
    bool send_now(wait_queue::guard& held, T& value);
    std::optional<T> receive_now(wait_queue::guard& held);

    bool send_before(T& value, clock::time_point deadline);
    std::optional<T> receive_before(clock::time_point deadline);

    mutable spin_lock guard_;
    bool closed_ = false;
    std::unique_ptr<slot[]> ring_;
    std::size_t capacity_;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
    wait_queue senders_;   ///< wait only while the ring is full
    wait_queue receivers_; ///< wait only while it is empty and no sender waits
};

template <class T> class channel<T>::iterator {
public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    explicit iterator(channel& from) : from_{&from}, value_{from.receive()} {}
    T& operator*() noexcept { return *value_; }
    iterator& operator++()
    {
        value_ = from_->receive();
        return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return !value_; }

private:
    channel* from_;
    std::optional<T> value_;
};

// ---------------------------------------------------------------------------------------------------------------------

template <class T> bool channel<T>::send_now(wait_queue::guard& held, T& value)
{
    if (closed_)
        throw channel_closed{};
    if (auto* next = static_cast<receiver*>(receivers_.pop(held))) {
        next->value.emplace(std::move(value));
        held.unlock();
        next->wake();
        return true;
    }
    if (size_ == capacity_)
        return false;
    put(value);
    held.unlock();
    return true;
}

template <class T> std::optional<T> channel<T>::receive_now(wait_queue::guard& held)
{
    if (size_ == 0 && capacity_ != 0)
        return std::nullopt;
    auto* next = static_cast<sender*>(senders_.pop(held));
    if (size_ == 0 && !next)
        return std::nullopt;

    std::optional<T> value;
    if (size_ == 0) {
        value.emplace(std::move(*std::exchange(next->value, nullptr)));
    } else {
        value.emplace(take());
        if (next)
            put(*std::exchange(next->value, nullptr));
    }
    held.unlock();
    if (next)
        next->wake();
    return value;
}

template <class T> bool channel<T>::try_send(T& value)
{
    wait_queue::guard held{guard_};
    return send_now(held, value);
}

template <class T> std::optional<T> channel<T>::try_receive()
{
    wait_queue::guard held{guard_};
    return receive_now(held);
}

template <class T> bool channel<T>::send_before(T& value, clock::time_point deadline)
{
    wait_queue::guard held{guard_};
    if (send_now(held, value))
        return true;
    parking self;
    sender place{self, value};
    const auto cause = senders_.wait(held, place, {.reason = {"channel send", this}, .deadline = deadline});
    if (place.value == nullptr)
        return true;
    throw_if_interrupted(cause);
    if (cause == wake_cause::notified)
        throw channel_closed{};
    return false;
}

template <class T> std::optional<T> channel<T>::receive_before(clock::time_point deadline)
{
    wait_queue::guard held{guard_};
    if (auto value = receive_now(held))
        return value;
    if (closed_)
        return std::nullopt;
    parking self;
    receiver place{self};
    const auto cause = receivers_.wait(held, place, {.reason = {"channel receive", this}, .deadline = deadline});
    throw_if_interrupted(cause);
    return std::move(place.value);
}

template <class T> void channel<T>::close() noexcept
{
    wait_queue::guard held{guard_};
    closed_ = true;
    // Only one side can have somebody to wake (see the members), and who is woken may destroy the channel.
    (receivers_.empty(held) ? senders_ : receivers_).notify_all(held);
}

} // namespace coir
