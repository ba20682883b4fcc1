// SPDX-License-Identifier: BSL-1.0
#pragma once
// Deadlines in order: a heap of four children a node, which keeps its index in each timer so that any can be removed.
// A fiber has at most one timer, armed while it waits; so room for every fiber is made when fibers are made, and arming
// does not allocate.
#include <coir/clock.hpp>

#include <cstddef>
#include <vector>

namespace coir {

class timer {
public:
    bool armed() const noexcept { return index_ != unarmed; }
    clock::time_point at() const noexcept { return at_; }

private:
    friend class timer_queue;
    static constexpr std::size_t unarmed = static_cast<std::size_t>(-1);
    clock::time_point at_;
    std::size_t index_ = unarmed;
};

class timer_queue {
public:
    /// Makes room for `count` armed timers.
    void reserve(std::size_t count);
    void arm(timer& item, clock::time_point at) noexcept;
    void disarm(timer& item) noexcept;

    /// When the first is due; `never` if there is none.
    clock::time_point next() const noexcept { return heap_.empty() ? never : heap_.front().at; }
    bool empty() const noexcept { return heap_.empty(); }
    /// Forgets all; they are not to be used any more.
    void clear() noexcept { heap_.clear(); }
    /// Takes out the first timer if it is due at `now`, else null.
    timer* pop_due(clock::time_point now) noexcept;

private:
    struct entry {
        clock::time_point at; ///< beside the pointer, so that comparing does not touch the fibers
        timer* item;
    };

    void put(std::size_t index, entry value) noexcept;
    void sift_up(std::size_t index, entry value) noexcept;
    void sift_down(std::size_t index, entry value) noexcept;

    std::vector<entry> heap_;
};

} // namespace coir
