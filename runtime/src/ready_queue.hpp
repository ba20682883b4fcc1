// SPDX-License-Identifier: BSL-1.0
#pragma once
// The fibers of a hub that can run, in the order in which they will: a ring of pointers, whose order is known some
// fibers ahead, so that their control blocks are on the way to the cache before their turn comes.
#include "fiber_state.hpp"

#include <cstddef>
#include <memory>

namespace coir {

class ready_queue {
public:
    bool empty() const noexcept { return first_ == end_; }
    std::size_t size() const noexcept { return end_ - first_; }

    /// Makes room for `count` fibers. Throws std::bad_alloc.
    void reserve(std::size_t count)
    {
        if (count > room())
            grow(count);
    }

    /// Behind all others.
    void push(fiber_state& last) noexcept { ring_[end_++ & mask_] = &last; }

    fiber_state& pop() noexcept
    {
        // Where fewer are ready, an old pointer is fetched for nothing.
        __builtin_prefetch(ring_[(first_ + ahead) & mask_], 1);
        return *ring_[first_++ & mask_];
    }

    fiber_state& front() const noexcept { return *ring_[first_ & mask_]; }
    void clear() noexcept { first_ = end_ = 0; }

private:
    static constexpr std::size_t ahead = 4;

    std::size_t room() const noexcept { return ring_ ? mask_ + 1 : 0; }

    void grow(std::size_t count)
    {
        std::size_t larger = 16;
        while (larger < count)
            larger *= 2;
        auto ring = std::make_unique<fiber_state*[]>(larger);
        const auto waiting = size();
        for (std::size_t i = 0; i < waiting; ++i)
            ring[i] = ring_[(first_ + i) & mask_];
        ring_ = std::move(ring);
        mask_ = larger - 1;
        first_ = 0;
        end_ = waiting;
    }

    std::unique_ptr<fiber_state*[]> ring_;
    std::size_t mask_ = 0;
    std::size_t first_ = 0; ///< these two only grow; the place is what is left under the mask
    std::size_t end_ = 0;
};

} // namespace coir
