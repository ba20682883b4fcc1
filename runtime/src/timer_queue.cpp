// SPDX-License-Identifier: BSL-1.0
#include "timer_queue.hpp"

#include <algorithm>

namespace coir {

namespace {
constexpr std::size_t children = 4;
}

void timer_queue::reserve(std::size_t count)
{
    if (heap_.capacity() < count)
        heap_.reserve(std::max(count, 2 * heap_.capacity()));
}

void timer_queue::put(std::size_t index, entry value) noexcept
{
    heap_[index] = value;
    value.item->index_ = index;
}

void timer_queue::sift_up(std::size_t index, entry value) noexcept
{
    while (index > 0) {
        const std::size_t parent = (index - 1) / children;
        if (heap_[parent].at <= value.at)
            break;
        put(index, heap_[parent]);
        index = parent;
    }
    put(index, value);
}

void timer_queue::sift_down(std::size_t index, entry value) noexcept
{
    for (;;) {
        const std::size_t first = index * children + 1;
        if (first >= heap_.size())
            break;
        const std::size_t last = std::min(first + children, heap_.size());
        std::size_t least = first;
        for (std::size_t child = first + 1; child < last; ++child)
            if (heap_[child].at < heap_[least].at)
                least = child;
        if (value.at <= heap_[least].at)
            break;
        put(index, heap_[least]);
        index = least;
    }
    put(index, value);
}

void timer_queue::arm(timer& item, clock::time_point at) noexcept
{
    item.at_ = at;
    heap_.push_back({at, &item});
    sift_up(heap_.size() - 1, {at, &item});
}

void timer_queue::disarm(timer& item) noexcept
{
    const std::size_t index = item.index_;
    item.index_ = timer::unarmed;
    const entry moved = heap_.back();
    heap_.pop_back();
    if (moved.item == &item)
        return;
    if (index > 0 && moved.at < heap_[(index - 1) / children].at)
        sift_up(index, moved);
    else
        sift_down(index, moved);
}

timer* timer_queue::pop_due(clock::time_point now) noexcept
{
    if (heap_.empty() || heap_.front().at > now)
        return nullptr;
    timer* due = heap_.front().item;
    disarm(*due);
    return due;
}

} // namespace coir
