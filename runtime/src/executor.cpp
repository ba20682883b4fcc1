// SPDX-License-Identifier: BSL-1.0
#include "hub_group.hpp"
#include "scheduler.hpp"

#include <coir/executor.hpp>
#include <coir/hub_io_context.hpp>

#include <boost/asio/io_context.hpp>

namespace coir {

namespace {

/// For the hubs whose driver is not Asio's. Strands keep their locks in it, no more.
boost::asio::execution_context& context_without_io()
{
    static auto& shared = *new boost::asio::execution_context; // never destroyed: executors may be static, too
    return shared;
}

boost::asio::execution_context& context_of(scheduler& hub)
{
    if (auto* context = hub.events().io_context())
        return *context;
    return context_without_io();
}

} // namespace

boost::asio::execution_context* find_this_hub_context() noexcept
{
    auto* hub = scheduler::of_this_thread();
    return hub ? &context_of(*hub) : nullptr;
}

executor::executor(coir::hub where) : hub_{where}, context_{&context_of(*hub_.scheduler_)} {}

bool executor::is_this_fibers_hub() const noexcept
{
    return current_fiber && scheduler::of_this_thread() == hub_.scheduler_;
}

void executor::track() const noexcept
{
    hub_.scheduler_->group().begin_outside_work();
}

void executor::untrack() const noexcept
{
    hub_.scheduler_->group().end_outside_work();
}

executor this_hub_executor()
{
    return executor{this_hub()};
}

} // namespace coir
