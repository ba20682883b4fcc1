// SPDX-License-Identifier: BSL-1.0
#include "hub_group.hpp"

#include <coir/deadline.hpp>
#include <coir/testing.hpp>

#include <pthread.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace coir {

hub_group::hub_group(std::vector<std::unique_ptr<driver>> drivers, clock::duration timer_slack)
    : drivers_{std::move(drivers)}
{
    hubs_.reserve(drivers_.size());
    for (auto& each : drivers_)
        hubs_.push_back(std::make_unique<scheduler>(*each, *this, hubs_.size(), timer_slack));
    stopped_.set();
}

hub_group::~hub_group()
{
    stop();
    cancel_all();
    {
        const shield until_all_have_ended; // we may be in a fiber of another runtime
        wait_until_stopped(never);
    }
    for (auto& each : threads_)
        each.join();
    run_what_is_left();
    while (visitors_.load(std::memory_order_acquire) != 0)
        std::this_thread::yield();
}

void hub_group::run_what_is_left() noexcept
{
    if (!has_work())
        return;
    // Fibers that were never run. A thread that runs fibers already cannot run these as well.
    const auto run_the_rest = [this] {
        try {
            run();
        } catch (const deadlock&) {
            // They have been cancelled a second time and have ended: what they waited for does not matter any more.
        }
    };
    if (scheduler::of_this_thread())
        std::thread{run_the_rest}.join();
    else
        run_the_rest();
}

// ---- threads --------------------------------------------------------------------------------------------------------

/// The threads of hubs `first` and up. They wait for `go`, so that either all of them run or none does.
class hub_group::running {
public:
    running(hub_group& group, std::size_t first) : group_{group}
    {
        for (auto& each : group.threads_) // of an earlier run; they have ended
            each.join();
        group.threads_.clear();
        try {
            group.threads_.reserve(group.size());
            for (auto i = first; i < group.size(); ++i)
                group.threads_.emplace_back([&group, i, go = go_, run = run_] {
                    go->wait();
                    if (*run)
                        group.run_hub(group.at(i));
                });
        } catch (...) {
            go_->set();
            for (auto& each : group.threads_)
                each.join();
            group.threads_.clear();
            throw;
        }
    }

    void go()
    {
        group_.stopped_.reset();
        group_.hubs_running_.store(group_.size(), std::memory_order_relaxed);
        *run_ = true;
        go_->set();
    }

private:
    hub_group& group_;
    std::shared_ptr<event> go_ = std::make_shared<event>();
    std::shared_ptr<bool> run_ = std::make_shared<bool>(false);
};

void hub_group::run_hub(scheduler& hub)
{
    struct leaving {
        hub_group& group;
        ~leaving()
        {
            if (group.hubs_running_.fetch_sub(1, std::memory_order_acq_rel) == 1)
                group.stopped_.set();
        }
    } const leaving{*this};
    if (size() > 1)
        ::pthread_setname_np(::pthread_self(), ("coir-hub-" + std::to_string(hub.index())).c_str());
    hub.run();
}

void hub_group::run()
{
    if (scheduler::of_this_thread())
        throw std::logic_error{"coir::runtime::run: this thread runs fibers already"};
    if (!stopped_.is_set())
        throw std::logic_error{"coir::runtime::run: it runs already"};
    do {
        running others{*this, 1};
        others.go();
        run_hub(at(0)); // may throw `deadlock`, but then there are no others
        for (auto& each : threads_)
            each.join();
        threads_.clear();
        for (auto& each : hubs_)
            each->forget_cancellation();
    } while (has_work());
}

void hub_group::start()
{
    if (!stopped_.is_set())
        throw std::logic_error{"coir::runtime::start: it runs already"};
    running all{*this, 0};
    accepting_.store(true, std::memory_order_relaxed);
    if (!kept_.exchange(true, std::memory_order_relaxed))
        add_work();
    for (auto& each : hubs_)
        each->forget_cancellation();
    all.go();
}

void hub_group::stop() noexcept
{
    accepting_.store(false, std::memory_order_relaxed);
    if (kept_.exchange(false, std::memory_order_relaxed))
        work_done();
}

bool hub_group::wait_until_stopped(clock::time_point deadline)
{
    return stopped_.wait_until(deadline);
}

void hub_group::cancel_all() noexcept
{
    for (auto& each : hubs_)
        each->cancel_all();
}

bool hub_group::is_of_this_thread() const noexcept
{
    const auto* hub = scheduler::of_this_thread();
    return hub && &hub->group() == this;
}

// ---- looking --------------------------------------------------------------------------------------------------------

namespace {

struct answer {
    std::vector<fiber_info> fibers;
    event given;
};

struct inquiry : hub_request {
    explicit inquiry(std::shared_ptr<answer> to) : hub_request{&reply}, result{std::move(to)} {}
    static void reply(scheduler& hub, hub_request& self) noexcept
    {
        const std::unique_ptr<inquiry> asked{static_cast<inquiry*>(&self)};
        asked->result->fibers = hub.fibers();
        asked->result->given.set();
    }
    std::shared_ptr<answer> result; ///< who asked may have given up waiting
};

} // namespace

std::vector<fiber_info> hub_group::fibers(clock::time_point deadline, std::size_t& silent_hubs)
{
    std::vector<std::shared_ptr<answer>> answers;
    for (auto& each : hubs_) {
        answers.push_back(std::make_shared<answer>());
        each->post(*std::make_unique<inquiry>(answers.back()).release());
    }
    std::vector<fiber_info> result;
    silent_hubs = 0;
    for (auto& each : answers) {
        if (each->given.wait_until(deadline))
            std::ranges::move(each->fibers, std::back_inserter(result));
        else
            ++silent_hubs;
    }
    return result;
}

// ---- placing --------------------------------------------------------------------------------------------------------

void hub_group::check_accepting(const char* what) const
{
    if (!accepting_.load(std::memory_order_relaxed))
        throw std::system_error{std::make_error_code(std::errc::operation_canceled), what};
}

void hub_group::spawn(const fiber_options& options, const fiber_entry& entry, void* callable)
{
    check_accepting("coir::runtime::spawn: the runtime shuts down");
    auto& hub = is_of_this_thread() ? *scheduler::of_this_thread()
                                    : at(next_hub_.fetch_add(1, std::memory_order_relaxed) % size());
    hub.offer(hub.create_detached(options, entry, callable));
}

void hub_group::post(scheduler& hub, const fiber_options& options, const fiber_entry& entry, void* callable)
{
    check_accepting("coir::hub::post: the runtime shuts down");
    auto& fiber = hub.create_detached(options, entry, callable);
    add_work();
    fiber.wake_request.act = &scheduler::take_in;
    hub.post(fiber.wake_request);
}

void hub_group::begin_outside_work() noexcept
{
    add_work();
    outside_work_.fetch_add(1, std::memory_order_relaxed);
}

void hub_group::end_outside_work() noexcept
{
    visitors_.fetch_add(1, std::memory_order_relaxed); // before the last unit is given back: the group lives until then
    outside_work_.fetch_sub(1, std::memory_order_relaxed);
    work_done();
    visitors_.fetch_sub(1, std::memory_order_release);
}

void hub_group::work_done() noexcept
{
    if (work_.fetch_sub(1, std::memory_order_acq_rel) != 1)
        return;
    for (auto& each : hubs_)
        if (!each->is_this_thread())
            each->wake_up();
}

// A fiber is pushed first, and looked for here after the count of the idle has been raised: of these two read-modify-
// writes of that count one comes first, and the other sees what was done before it.

bool hub_group::idle(scheduler& hub) noexcept
{
    hub.is_idle.store(true, std::memory_order_relaxed);
    idle_count_.fetch_add(1, std::memory_order_acq_rel);
    const bool nothing =
        has_work() && std::ranges::none_of(hubs_, [](auto& each) { return each->unstarted().size() != 0; });
    if (!nothing)
        busy(hub);
    return nothing;
}

void hub_group::busy(scheduler& hub) noexcept
{
    if (hub.is_idle.exchange(false, std::memory_order_relaxed))
        idle_count_.fetch_sub(1, std::memory_order_relaxed);
}

void hub_group::unstarted() noexcept
{
    if (idle_count_.fetch_add(0, std::memory_order_acq_rel) == 0)
        return;
    for (auto& each : hubs_) {
        if (each->is_idle.load(std::memory_order_relaxed) && each->is_idle.exchange(false, std::memory_order_relaxed)) {
            idle_count_.fetch_sub(1, std::memory_order_relaxed);
            each->wake_up();
            return;
        }
    }
}

unstarted_queue::fiber_queue hub_group::steal(const scheduler& thief) noexcept
{
    for (std::size_t i = 1; i < size(); ++i)
        if (auto taken = at((thief.index() + i) % size()).unstarted().take(size()); !taken.empty())
            return taken;
    return {};
}

// ---- fork -----------------------------------------------------------------------------------------------------------

namespace {

/// What a forked child has of its parent's hubs. Their threads do not exist here, and what was half done in them at the
/// moment of the fork will never be finished: so they are kept as they are, and never freed.
struct abandoned {
    std::vector<std::thread> threads;
    std::vector<std::unique_ptr<scheduler>> hubs;
    std::vector<std::unique_ptr<driver>> drivers;
    std::unique_ptr<abandoned> earlier; ///< of the parent, if that was a child itself
};

constinit abandoned* all_abandoned = nullptr;

} // namespace

void hub_group::forked(scheduler& survivor) noexcept
{
    auto others = std::make_unique<abandoned>();
    others->earlier.reset(all_abandoned);
    others->threads.swap(threads_);
    for (auto& each : hubs_)
        if (each.get() != &survivor)
            others->hubs.push_back(std::move(each));
    for (auto& each : drivers_)
        if (each.get() != &survivor.events())
            others->drivers.push_back(std::move(each));
    all_abandoned = others.release();
    std::erase(hubs_, nullptr);
    std::erase(drivers_, nullptr);
    survivor.renumber(0);
    idle_count_.store(0, std::memory_order_relaxed);
    kept_.store(false, std::memory_order_relaxed);
    hubs_running_.store(1, std::memory_order_relaxed);
    work_.store(1, std::memory_order_relaxed); // the survivor has a fiber
}

} // namespace coir
