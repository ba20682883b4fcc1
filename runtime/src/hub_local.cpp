// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include <coir/hub_local.hpp>

#include <stdexcept>

namespace coir {

hub_slot::hub_slot()
{
    static std::atomic<std::size_t> taken{0};
    index_ = taken.fetch_add(1);
    if (index_ >= scheduler::local_slots)
        throw std::length_error{"coir::hub_slot: too many"};
}

hub_object* hub_slot::get() const noexcept
{
    return scheduler::of_this_thread()->locals[index_].get();
}

void hub_slot::set(std::unique_ptr<hub_object> object) const noexcept
{
    scheduler::of_this_thread()->locals[index_] = std::move(object);
}

} // namespace coir
