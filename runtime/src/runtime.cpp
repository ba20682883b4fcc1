// SPDX-License-Identifier: BSL-1.0
#include "asio_driver.hpp"
#include "scheduler.hpp"

#include <coir/runtime.hpp>
#include <coir/testing.hpp>

namespace coir {

namespace {
std::atomic<bool> any_runtime{false};
}

bool runtimes_exist() noexcept
{
    return any_runtime.load(std::memory_order_relaxed);
}

runtime::runtime() : runtime{std::make_unique<asio_driver>()} {}

runtime::runtime(std::unique_ptr<driver> driver)
    : driver_{std::move(driver)}, scheduler_{std::make_unique<scheduler>(*driver_)}
{
    any_runtime.store(true, std::memory_order_seq_cst);
}

runtime::~runtime()
{
    if (!scheduler_->first_fiber())
        return;
    cancel_all();
    try {
        scheduler_->run();
    } catch (const deadlock&) {
        // They have been cancelled a second time and have ended: what they had waited for does not matter any more.
    }
}

void runtime::run()
{
    scheduler_->run();
}

void runtime::cancel_all() noexcept
{
    scheduler_->cancel_all();
}

void runtime::spawn_entry(const fiber_options& options, const fiber_entry& entry, void* callable)
{
    auto* state = scheduler_->start(options, entry, callable);
    state->detached = true;
    state->release();
}

} // namespace coir
