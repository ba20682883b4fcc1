// SPDX-License-Identifier: BSL-1.0
#pragma once
// The fibers of a hub that can run, in the order in which they will.
//
//     pop <--- started by the running fiber | made ready with it, then woken by it | ... | queue: all others <--- push
//
// Who is started by a fiber runs next, in the order of starting; who is woken by it runs after those that have become
// ready with it. A tree of fibers is then walked in depth and not in breadth, which keeps few of them alive at a time;
// partners meet in a warm cache; and who gathers what ten others bring is not woken for each.
//
// Nobody starves: each time one of the queue has its turn, `overtakes_max` more may overtake the rest of it. With
// nobody in the queue there is nobody to overtake.
//
// The queue is a ring of pointers: so it is known some fibers ahead who will run, and their control blocks can be on
// the way to the cache before their turn comes.
#include "fiber_state.hpp"

#include <cstddef>
#include <memory>
#include <utility>

namespace coir {

class ready_queue {
public:
    bool empty() const noexcept { return !next_ && queue_empty(); }
    std::size_t size() const noexcept
    {
        auto result = end_ - first_;
        for (const auto* each = next_; each; each = each->next_ready)
            ++result;
        return result;
    }

    /// Makes room for `count` fibers. Throws std::bad_alloc.
    void reserve(std::size_t count)
    {
        if (count > room())
            grow(count);
    }

    /// Behind all others.
    void push(fiber_state& last) noexcept { ring_[end_++ & mask_] = &last; }

    /// Next, but after those that the running fiber has started before.
    void push_started(fiber_state& fiber) noexcept
    {
        if (!may_overtake()) {
            push(fiber);
            return;
        }
        insert(newest_ ? newest_->next_ready : next_, fiber);
        newest_ = &fiber;
    }

    /// After those that have become ready with the running fiber.
    void push_woken(fiber_state& fiber) noexcept
    {
        if (!may_overtake()) {
            push(fiber);
            return;
        }
        auto* const before = family_end_ ? family_end_ : newest_;
        insert(before ? before->next_ready : next_, fiber);
        family_end_ = &fiber;
    }

    /// Who runs now.
    fiber_state& pop() noexcept
    {
        if (next_)
            return pop_next();
        overtakes_left_ = overtakes_max;
        // Where fewer are ready, an old pointer is fetched for nothing.
        __builtin_prefetch(ring_[(first_ + ahead) & mask_], 1);
        if (end_ - first_ > 4)
            ring_[(first_ + 4) & mask_]->stack.prefetch_frames();
        return *ring_[first_++ & mask_];
    }

    fiber_state& front() const noexcept { return next_ ? *next_ : *ring_[first_ & mask_]; }
    void clear() noexcept
    {
        next_ = newest_ = family_end_ = outer_end_ = nullptr;
        first_ = end_ = 0;
    }

private:
    static constexpr unsigned overtakes_max = 32;
    static constexpr std::size_t ahead = 8;

    static void insert(fiber_state*& place, fiber_state& fiber) noexcept
    {
        fiber.next_ready = place;
        place = &fiber;
    }

    bool may_overtake() noexcept
    {
        if (queue_empty())
            return true;
        if (overtakes_left_ == 0)
            return false;
        --overtakes_left_;
        return true;
    }

    fiber_state& pop_next() noexcept
    {
        if (newest_) { // a family of its own, inside of that of who has started it
            if (family_end_)
                family_end_->outer_family = std::exchange(outer_end_, family_end_);
            family_end_ = std::exchange(newest_, nullptr);
        } else if (!family_end_) {
            family_end_ = outer_end_;
            outer_end_ = family_end_->outer_family;
        }
        auto& fiber = *next_;
        next_ = fiber.next_ready;
        __builtin_prefetch(next_, 1);
        __builtin_prefetch(next_ ? &next_->next_ready : nullptr);
        if (&fiber == family_end_)
            family_end_ = nullptr;
        return fiber;
    }

    bool queue_empty() const noexcept { return first_ == end_; }
    std::size_t room() const noexcept { return ring_ ? mask_ + 1 : 0; }

    void grow(std::size_t count)
    {
        std::size_t larger = 16;
        while (larger < count)
            larger *= 2;
        auto ring = std::make_unique<fiber_state*[]>(larger);
        const auto waiting = end_ - first_;
        for (std::size_t i = 0; i < waiting; ++i)
            ring[i] = ring_[(first_ + i) & mask_];
        ring_ = std::move(ring);
        mask_ = larger - 1;
        first_ = 0;
        end_ = waiting;
    }

    fiber_state* next_ = nullptr; ///< a list through next_ready
    // Places in that list. All are null when it is empty.
    fiber_state* newest_ = nullptr;     ///< the last that the running fiber has started
    fiber_state* family_end_ = nullptr; ///< the last of those that became ready with it; null: none is left
    fiber_state* outer_end_ = nullptr;  ///< the last of those around them, who knows of the next outer ones
    unsigned overtakes_left_ = overtakes_max;
    std::unique_ptr<fiber_state*[]> ring_;
    std::size_t mask_ = 0;
    std::size_t first_ = 0; ///< these two only grow; the place is what is left under the mask
    std::size_t end_ = 0;
};

} // namespace coir
