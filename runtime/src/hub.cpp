// SPDX-License-Identifier: BSL-1.0
#include "hub_group.hpp"
#include "scheduler.hpp"

#include <coir/hub.hpp>

#include <stdexcept>

namespace coir {

void hub::post_entry(const fiber_options& options, const fiber_entry& entry, void* callable) const
{
    scheduler_->group().post(*scheduler_, options, entry, callable);
}

std::size_t hub::index() const noexcept
{
    return scheduler_->index();
}

hub this_hub()
{
    auto* scheduler = scheduler::of_this_thread();
    if (!scheduler)
        throw std::logic_error{"coir::this_hub: no runtime runs on this thread"};
    return hub{*scheduler};
}

} // namespace coir
