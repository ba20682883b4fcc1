// SPDX-License-Identifier: BSL-1.0
#pragma once
// What the hubs of one runtime share: their threads, which of them are idle, and whether there is anything left to do.
//
// `work` counts the hubs that have fibers, the fibers that no hub has taken in yet, and one for a runtime that is to go
// on without either. When it comes to nothing the hubs' loops end. A hub that takes a fiber in passes the fiber's unit
// on to itself, or gives it back if it has one already; so starting a fiber on one's own hub counts nothing.
#include "scheduler.hpp"

#include <coir/driver.hpp>
#include <coir/event.hpp>
#include <coir/inspect.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace coir {

class hub_group {
public:
    hub_group(std::vector<std::unique_ptr<driver>> drivers, clock::duration timer_slack);
    hub_group(const hub_group&) = delete;
    hub_group& operator=(const hub_group&) = delete;
    ~hub_group();

    std::size_t size() const noexcept { return hubs_.size(); }
    scheduler& at(std::size_t index) const noexcept { return *hubs_[index]; }

    // For the runtime's owner:
    void run();   ///< on the calling thread and `size() - 1` others, until no work is left
    void start(); ///< on `size()` other threads, until `stop`
    void stop() noexcept;
    bool wait_until_stopped(clock::time_point deadline);
    void cancel_all() noexcept;
    /// The fibers of all hubs; and how many hubs have not answered in time, because a fiber keeps their thread.
    std::vector<fiber_info> fibers(clock::time_point deadline, std::size_t& silent_hubs);
    bool is_of_this_thread() const noexcept;

    // Any thread. They start detached fibers.
    void spawn(const fiber_options& options, const fiber_entry& entry, void* callable);
    void post(scheduler& hub, const fiber_options& options, const fiber_entry& entry, void* callable);
    /// Work that is done elsewhere, and will come back to a hub: until `end_outside_work` the group goes on.
    void begin_outside_work() noexcept;
    void end_outside_work() noexcept;
    bool has_outside_work() const noexcept { return outside_work_.load(std::memory_order_relaxed) != 0; }

    // For the hubs:
    void add_work() noexcept { work_.fetch_add(1, std::memory_order_relaxed); }
    void work_done() noexcept;
    bool has_work() const noexcept { return work_.load(std::memory_order_acquire) != 0; }
    /// Called by an idle hub: whether it may block now. If so, `unstarted` wakes it, and it calls `busy` afterwards.
    bool idle(scheduler& hub) noexcept;
    void busy(scheduler& hub) noexcept;
    bool goes_on() const noexcept { return kept_.load(std::memory_order_relaxed); }
    /// There is a fiber in somebody's queue: wakes a hub that has nothing to do.
    void unstarted() noexcept;
    /// Takes from the queues of the others.
    unstarted_queue::fiber_queue steal(const scheduler& thief) noexcept;

    /// In a child, between fork and its return: this hub is alone now.
    void forked(scheduler& survivor) noexcept;

private:
    class running;
    void run_hub(scheduler& hub);
    void run_what_is_left() noexcept;
    void check_accepting(const char* what) const;

    std::vector<std::unique_ptr<driver>> drivers_;
    std::vector<std::unique_ptr<scheduler>> hubs_;
    std::vector<std::thread> threads_;
    std::atomic<std::size_t> work_{0};
    std::atomic<std::size_t> idle_count_{0};
    std::atomic<std::size_t> next_hub_{0}; ///< who gets the next fiber from outside
    std::atomic<bool> accepting_{true};
    std::atomic<bool> kept_{false}; ///< has a unit of work of its own, from `start` to `stop`
    std::atomic<std::size_t> hubs_running_{0};
    std::atomic<std::size_t> outside_work_{0};
    std::atomic<unsigned> visitors_{0}; ///< threads that end outside work; the destructor waits for them
    event stopped_;                     ///< set while no hub runs
};

} // namespace coir
