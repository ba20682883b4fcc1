// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/channel_buffer.hpp>
#include <coir/wait_queue.hpp>

#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace coir {

/// Thrown by `send` when the channel is closed.
class channel_closed : public std::logic_error {
public:
    channel_closed() : std::logic_error{"coir::channel: send on a closed channel"} {}
};

/// The capacity of a channel that takes every value at once. It keeps the room it has once needed.
inline constexpr std::size_t unbounded = static_cast<std::size_t>(-1);

/// What came out of a channel, or why nothing did.
///
///     if (auto job = jobs.receive_for(1s)) ...
///     else if (job.is_closed()) ...               // and none will come any more
template <class T> class received : public std::optional<T> {
public:
    /// Nothing, because the channel is closed and drained; otherwise it was the time that ran out.
    bool is_closed() const noexcept { return closed_; }

private:
    template <class, class> friend class basic_channel;
    bool closed_ = false;
};

template <class T, class Buffer> class receive_case;
template <class T, class Buffer> class send_case;

/// What every channel is, whatever the order in which its buffer gives values out: see channel.hpp,
/// priority_channel.hpp, lifo_channel.hpp, joinable_channel.hpp.
///
/// Waiting senders and receivers are served in order of arrival. After `close`, what was sent can still be received.
/// A value is moved from only if it was sent; one that was handed over is not lost to a time-out or a cancellation that
/// comes afterwards. T moves without throwing. Works between fibers, hubs and plain threads.
template <class T, class Buffer> class basic_channel {
    static_assert(std::is_nothrow_move_constructible_v<T>, "a channel moves values under its lock");

public:
    using value_type = T;

    basic_channel(const basic_channel&) = delete;
    basic_channel& operator=(const basic_channel&) = delete;

    /// Suspends while the channel is full. Throws `channel_closed`, `cancelled`, `timed_out`; it was not sent then.
    void send(T&& value) { send_before(value, never); }
    void send(const T& value)
        requires std::copy_constructible<T>
    {
        send(T(value));
    }
    /// Never suspends. False if it would have to wait. Throws `channel_closed`.
    bool try_send(T&& value);
    bool try_send(const T& value)
        requires std::copy_constructible<T>
    {
        return try_send(T(value));
    }
    /// Suspends as `send`. False if the time ran out first.
    template <class Rep, class Period> bool send_for(T&& value, const std::chrono::duration<Rep, Period>& limit)
    {
        return send_before(value, deadline_after(limit));
    }
    template <class Rep, class Period>
    bool send_for(const T& value, const std::chrono::duration<Rep, Period>& limit)
        requires std::copy_constructible<T>
    {
        return send_for(T(value), limit);
    }
    template <class Clock, class Duration>
    bool send_until(T&& value, const std::chrono::time_point<Clock, Duration>& instant)
    {
        return send_before(value, deadline_at(instant));
    }
    template <class Clock, class Duration>
    bool send_until(const T& value, const std::chrono::time_point<Clock, Duration>& instant)
        requires std::copy_constructible<T>
    {
        return send_until(T(value), instant);
    }

    /// Suspends while the channel is empty. Nothing once it is closed and drained. Throws `cancelled`, `timed_out`.
    std::optional<T> receive()
    {
        std::optional<T> value;
        receive_before(value, never);
        return value;
    }
    /// Never suspends.
    received<T> try_receive();
    /// Suspends as `receive`. Nothing if the time ran out, too: `is_closed` tells which.
    template <class Rep, class Period> received<T> receive_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return receive_before(deadline_after(limit));
    }
    template <class Clock, class Duration>
    received<T> receive_until(const std::chrono::time_point<Clock, Duration>& instant)
    {
        return receive_before(deadline_at(instant));
    }

    /// No more can be sent; waiting senders throw `channel_closed`. Never suspends. Twice is fine.
    void close() noexcept;
    bool is_closed() const noexcept
    {
        std::lock_guard held{guard_};
        return closed_;
    }

    std::size_t capacity() const noexcept { return capacity_; }
    /// How many values could be received now without a sender that waits.
    std::size_t size() const noexcept
    {
        std::lock_guard held{guard_};
        return buffer_.size();
    }

    class iterator;
    /// Receives until the channel is closed and drained. The first `receive` happens here.
    iterator begin() { return iterator{*this}; }
    std::default_sentinel_t end() const noexcept { return {}; }

protected:
    template <class... Order>
    explicit basic_channel(std::size_t capacity, Order&&... order)
        : capacity_{capacity}, buffer_(capacity == unbounded ? 0 : capacity, std::forward<Order>(order)...)
    {
    }
    ~basic_channel() = default;

    mutable spin_lock guard_{spin_lock::mostly_one_hub{}};
    bool closed_ = false;
    const std::size_t capacity_;
    Buffer buffer_;

private:
    friend class receive_case<T, Buffer>;
    friend class send_case<T, Buffer>;

    struct sender : waiter {
        sender() = default;
        sender(parking& owner, T& from) noexcept : waiter{owner}, value{&from} {}
        T* value = nullptr; ///< null once it has been taken
    };
    struct receiver : waiter {
        explicit receiver(std::optional<T>& target) noexcept : into{&target} {}
        receiver(parking& owner, std::optional<T>& target) noexcept : waiter{owner}, into{&target} {}
        std::optional<T>* into;
    };

    enum class progress : std::uint8_t { done, wait, closed, grow };
    /// These two hold the protocol. Whom it has woken is to be woken after the lock has been released.
    progress send_now(const wait_queue::guard& held, T& value, waiter*& woken) noexcept;
    progress receive_now(const wait_queue::guard& held, std::optional<T>& into, waiter*& woken) noexcept;
    /// More room. Releases the lock in between, so everything may have changed.
    void grow(wait_queue::guard& held);

    // The first of each pair is what usually happens, and is inlined: there is room or a value, and nobody waits. The
    // second goes on with the lock held.
    bool send_before(T& value, clock::time_point deadline);
    bool send_or_wait(T& value, clock::time_point deadline);
    progress receive_before(std::optional<T>& into, clock::time_point deadline);
    progress receive_or_wait(std::optional<T>& into, clock::time_point deadline);
    received<T> receive_before(clock::time_point deadline)
    {
        received<T> result;
        result.closed_ = receive_before(result, deadline) == progress::closed;
        return result;
    }
    /// Under the lock, when a value has come in: to the buffer, or straight to a receiver.
    void accepted() noexcept
    {
        if constexpr (requires(Buffer& buffer) { buffer.accepted(); })
            buffer_.accepted();
    }

    wait_queue senders_;   ///< wait only while the buffer is full
    wait_queue receivers_; ///< wait only while it is empty and no sender waits, but for a select that does both
};

template <class T, class Buffer> class basic_channel<T, Buffer>::iterator {
public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    explicit iterator(basic_channel& from) : from_{&from}, value_{from.receive()} {}
    T& operator*() noexcept { return *value_; }
    iterator& operator++()
    {
        value_.reset();
        from_->receive_before(value_, never);
        return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return !value_; }

private:
    basic_channel* from_;
    std::optional<T> value_;
};

// ---------------------------------------------------------------------------------------------------------------------

template <class T, class Buffer>
inline auto basic_channel<T, Buffer>::send_now(const wait_queue::guard& held, T& value, waiter*& woken) noexcept
    -> progress
{
    if (closed_) [[unlikely]]
        return progress::closed;
    if (auto* next = static_cast<receiver*>(receivers_.pop(held))) {
        next->into->emplace(std::move(value));
        woken = next;
    } else if (!buffer_.full()) [[likely]] {
        buffer_.put(value);
    } else {
        return capacity_ == unbounded ? progress::grow : progress::wait;
    }
    accepted();
    return progress::done;
}

template <class T, class Buffer>
auto basic_channel<T, Buffer>::receive_now(const wait_queue::guard& held, std::optional<T>& into,
                                           waiter*& woken) noexcept -> progress
{
    const bool buffered = buffer_.size() != 0;
    if (buffered)
        into.emplace(buffer_.take());
    else if (capacity_ != 0)
        return closed_ ? progress::closed : progress::wait;
    if (auto* next = static_cast<sender*>(senders_.pop(held))) {
        T& value = *std::exchange(next->value, nullptr);
        if (buffered)
            buffer_.put(value);
        else
            into.emplace(std::move(value));
        accepted();
        woken = next;
    } else if (!buffered) {
        return closed_ ? progress::closed : progress::wait;
    }
    return progress::done;
}

template <class T, class Buffer> void basic_channel<T, Buffer>::grow(wait_queue::guard& held)
{
    const auto wanted = std::max<std::size_t>(16, 2 * buffer_.size());
    held.unlock();
    value_room<T> room{wanted};
    held.lock();
    if (!buffer_.full() || buffer_.size() >= wanted) // somebody else was faster
        return;
    room = buffer_.move_to(std::move(room));
    held.unlock();
    room = {};
    held.lock();
}

template <class T, class Buffer> bool basic_channel<T, Buffer>::try_send(T&& value)
{
    for (;;) {
        wait_queue::guard held{guard_};
        waiter* woken = nullptr;
        const auto result = send_now(held, value, woken);
        if (result == progress::grow) {
            grow(held);
            continue;
        }
        held.unlock();
        if (result == progress::closed)
            throw channel_closed{};
        if (woken)
            woken->wake();
        return result == progress::done;
    }
}

template <class T, class Buffer> received<T> basic_channel<T, Buffer>::try_receive()
{
    received<T> result;
    wait_queue::guard held{guard_};
    waiter* woken = nullptr;
    result.closed_ = receive_now(held, result, woken) == progress::closed;
    held.unlock();
    if (woken)
        woken->wake();
    return result;
}

template <class T, class Buffer> inline bool basic_channel<T, Buffer>::send_before(T& value, clock::time_point deadline)
{
    guard_.lock();
    if (buffer_.full() || !receivers_.empty() || closed_) [[unlikely]]
        return send_or_wait(value, deadline);
    buffer_.put(value);
    accepted();
    guard_.unlock();
    return true;
}

template <class T, class Buffer>
[[gnu::noinline]] bool basic_channel<T, Buffer>::send_or_wait(T& value, clock::time_point deadline)
{
    wait_queue::guard held{guard_, std::adopt_lock};
    waiter* woken = nullptr;
    auto result = send_now(held, value, woken);
    while (result == progress::grow) {
        grow(held);
        result = send_now(held, value, woken);
    }
    if (result == progress::done) {
        held.unlock();
        if (woken)
            woken->wake();
        return true;
    }
    if (result == progress::closed)
        throw channel_closed{};
    parking self{parking::in_one_queue{}};
    sender place{self, value};
    const auto cause = senders_.wait(held, place, {.reason = {"channel send", this}, .deadline = deadline});
    if (place.value == nullptr)
        return true;
    throw_if_interrupted(cause);
    if (cause == wake_cause::notified)
        throw channel_closed{};
    return false;
}

template <class T, class Buffer>
inline auto basic_channel<T, Buffer>::receive_before(std::optional<T>& into, clock::time_point deadline) -> progress
{
    guard_.lock();
    if (buffer_.size() == 0 || !senders_.empty()) [[unlikely]]
        return receive_or_wait(into, deadline);
    into.emplace(buffer_.take());
    guard_.unlock();
    return progress::done;
}

template <class T, class Buffer>
[[gnu::noinline]] auto basic_channel<T, Buffer>::receive_or_wait(std::optional<T>& into, clock::time_point deadline)
    -> progress
{
    wait_queue::guard held{guard_, std::adopt_lock};
    waiter* woken = nullptr;
    const auto result = receive_now(held, into, woken);
    if (result != progress::wait) {
        held.unlock();
        if (woken)
            woken->wake();
        return result;
    }
    parking self{parking::in_one_queue{}};
    receiver place{self, into};
    const auto cause = receivers_.wait(held, place, {.reason = {"channel receive", this}, .deadline = deadline});
    throw_if_interrupted(cause);
    if (into)
        return progress::done;
    return cause == wake_cause::notified ? progress::closed : progress::wait;
}

template <class T, class Buffer> void basic_channel<T, Buffer>::close() noexcept
{
    wait_queue::guard held{guard_};
    closed_ = true;
    auto receivers = receivers_.take_all(held);
    auto senders = senders_.take_all(held);
    held.unlock();
    receivers.wake(); // who is woken may destroy the channel
    senders.wake();
}

} // namespace coir
