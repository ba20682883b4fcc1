// SPDX-License-Identifier: BSL-1.0
#pragma once
// What a channel keeps its values in: the order in which they come out. A buffer has room for so many values; a channel
// that may grow gives it larger room, which is made and freed outside of the channel's lock.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace coir {

/// Memory for a number of values.
template <class T> class value_room {
public:
    value_room() noexcept = default;
    explicit value_room(std::size_t size)
        : slots_{size ? std::make_unique_for_overwrite<slot[]>(size) : nullptr}, size_{size}
    {
    }
    std::size_t size() const noexcept { return size_; }
    T* at(std::size_t index) noexcept { return std::launder(reinterpret_cast<T*>(&slots_[index])); }
    void put(std::size_t index, T& value) noexcept { ::new (&slots_[index]) T(std::move(value)); }
    T take(std::size_t index) noexcept
    {
        T* const place = at(index);
        T value = std::move(*place);
        place->~T();
        return value;
    }

private:
    struct slot {
        alignas(T) std::byte bytes[sizeof(T)];
    };
    std::unique_ptr<slot[]> slots_;
    std::size_t size_ = 0;
};

/// First in, first out: a ring.
template <class T> class fifo_buffer {
public:
    explicit fifo_buffer(std::size_t room) : room_{room} {}
    fifo_buffer(const fifo_buffer&) = delete;
    fifo_buffer& operator=(const fifo_buffer&) = delete;
    ~fifo_buffer()
    {
        while (size_ > 0)
            take();
    }

    std::size_t size() const noexcept { return size_; }
    bool full() const noexcept { return size_ == room_.size(); }
    void put(T& value) noexcept { room_.put(wrapped(first_ + size_++), value); }
    T take() noexcept
    {
        --size_;
        return room_.take(std::exchange(first_, wrapped(first_ + 1)));
    }
    /// Moves to larger room, and gives back the old one.
    value_room<T> move_to(value_room<T> larger) noexcept
    {
        for (std::size_t i = 0; i < size_; ++i) {
            T value = room_.take(wrapped(first_ + i));
            larger.put(i, value);
        }
        first_ = 0;
        return std::exchange(room_, std::move(larger));
    }

private:
    std::size_t wrapped(std::size_t index) const noexcept
    {
        return index < room_.size() ? index : index - room_.size();
    }

    value_room<T> room_;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
};

/// Last in, first out.
template <class T> class lifo_buffer {
public:
    explicit lifo_buffer(std::size_t room) : room_{room} {}
    lifo_buffer(const lifo_buffer&) = delete;
    lifo_buffer& operator=(const lifo_buffer&) = delete;
    ~lifo_buffer()
    {
        while (size_ > 0)
            take();
    }

    std::size_t size() const noexcept { return size_; }
    bool full() const noexcept { return size_ == room_.size(); }
    void put(T& value) noexcept { room_.put(size_++, value); }
    T take() noexcept { return room_.take(--size_); }
    value_room<T> move_to(value_room<T> larger) noexcept
    {
        for (std::size_t i = 0; i < size_; ++i) {
            T value = room_.take(i);
            larger.put(i, value);
        }
        return std::exchange(room_, std::move(larger));
    }

protected:
    T* values() noexcept { return room_.at(0); }

private:
    value_room<T> room_;
    std::size_t size_ = 0;
};

/// The greatest first, as std::priority_queue: a heap.
template <class T, class Compare> class priority_buffer : public lifo_buffer<T> {
public:
    priority_buffer(std::size_t room, Compare compare) : lifo_buffer<T>{room}, compare_(std::move(compare)) {}

    void put(T& value) noexcept
    {
        lifo_buffer<T>::put(value);
        std::push_heap(this->values(), this->values() + this->size(), compare_);
    }
    T take() noexcept
    {
        std::pop_heap(this->values(), this->values() + this->size(), compare_);
        return lifo_buffer<T>::take();
    }

private:
    [[no_unique_address]] Compare compare_;
};

} // namespace coir
