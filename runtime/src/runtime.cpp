// SPDX-License-Identifier: BSL-1.0
#include "asio_driver.hpp"
#include "hub_group.hpp"

#include <coir/own_descriptors.hpp>
#include <coir/runtime.hpp>

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace coir {

namespace {
std::atomic<bool> any_runtime{false};
}

bool runtimes_exist() noexcept
{
    return any_runtime.load(std::memory_order_relaxed);
}

std::size_t default_hub_count() noexcept
{
    if (const char* text = std::getenv("COIR_HUBS"))
        if (const auto count = std::strtoull(text, nullptr, 10); count > 0)
            return static_cast<std::size_t>(count);
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        return static_cast<std::size_t>(CPU_COUNT(&allowed));
    return std::max(1U, std::thread::hardware_concurrency()); // more than CPU_SETSIZE processors
}

namespace {

std::vector<std::unique_ptr<driver>> asio_drivers(std::size_t count)
{
    const own_descriptors_scope theirs;
    std::vector<std::unique_ptr<driver>> result;
    std::generate_n(std::back_inserter(result), count, [] { return std::make_unique<asio_driver>(); });
    return result;
}

std::vector<std::unique_ptr<driver>> only(std::unique_ptr<driver> one)
{
    std::vector<std::unique_ptr<driver>> result;
    result.push_back(std::move(one));
    return result;
}

} // namespace

runtime::runtime(const runtime_options& options)
    : hubs_{std::make_unique<hub_group>(asio_drivers(options.hubs ? options.hubs : default_hub_count()),
                                        options.timer_slack)}
{
    any_runtime.store(true, std::memory_order_seq_cst);
}

runtime::runtime(std::unique_ptr<driver> driver, testing::schedule* plan, std::chrono::nanoseconds timer_slack)
    : hubs_{std::make_unique<hub_group>(only(std::move(driver)), timer_slack)}
{
    hubs_->at(0).follow(plan);
    any_runtime.store(true, std::memory_order_seq_cst);
}

runtime::~runtime()
{
    const own_descriptors_scope theirs;
    hubs_.reset();
}

std::size_t runtime::hub_count() const noexcept
{
    return hubs_->size();
}

hub runtime::hub(std::size_t index) const noexcept
{
    return coir::hub{hubs_->at(index)};
}

void runtime::run()
{
    hubs_->run();
    if (hubs_->at(0).ends_process())
        std::exit(0); // as when the thread that called fork ends (pthread_exit(3))
}

void runtime::start()
{
    hubs_->start();
}

void runtime::cancel_all() noexcept
{
    hubs_->cancel_all();
}

void runtime::main_ended() noexcept
{
    hubs_->at(0).main_ended();
    hubs_->cancel_all();
}

shutdown_report runtime::shutdown_before(clock::time_point deadline)
{
    if (hubs_->is_of_this_thread())
        throw std::logic_error{"coir::runtime::shutdown: the caller is one of its fibers, and would wait for itself"};
    hubs_->stop();
    hubs_->cancel_all();
    shutdown_report report;
    if (!hubs_->wait_until_stopped(deadline)) {
        // A hub that has a moment answers at its next turn. All of them together get this long.
        constexpr std::chrono::milliseconds patience{250};
        report.fibers = hubs_->fibers(deadline_after(patience), report.silent_hubs);
    }
    return report;
}

void runtime::spawn_entry(const fiber_options& options, const fiber_entry& entry, void* callable)
{
    hubs_->spawn(options, entry, callable);
}

} // namespace coir
