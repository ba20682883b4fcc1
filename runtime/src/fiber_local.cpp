// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"
#include "local_values.hpp"

#include <coir/fiber_local.hpp>

#include <atomic>
#include <utility>

namespace coir {

namespace {

local_values& callers_values() noexcept
{
    thread_local local_values of_thread;
    return current_fiber ? current_fiber->locals : of_thread;
}

} // namespace

void local_values::set(std::size_t index, void* value, void (*destroy)(void*))
{
    if (index >= values_.size())
        values_.resize(index + 1);
    values_[index] = {value, destroy};
}

void local_values::destroy_each() noexcept
{
    while (!values_.empty()) {
        const auto [value, destroy] = std::exchange(values_.back(), {});
        if (value)
            destroy(value);
        else
            values_.pop_back();
    }
}

fiber_local_slot::fiber_local_slot() noexcept
{
    static std::atomic<std::size_t> taken{0};
    index_ = taken.fetch_add(1, std::memory_order_relaxed);
}

void* fiber_local_slot::get() const noexcept
{
    return callers_values().get(index_);
}

void fiber_local_slot::set(void* value, void (*destroy)(void*)) const
{
    callers_values().set(index_, value, destroy);
}

} // namespace coir
