// SPDX-License-Identifier: BSL-1.0
#pragma once
// A hub: the fibers of one thread, the queue of those that can run, and the loop that waits when none can.
//
//              make_ready                        switch                    suspend
//   waiting ---------------> in the ready queue ---------> running -------------------> waiting
//
// Fibers switch to each other directly. The loop, on the thread's own stack, runs when nobody is ready, and after every
// `turn_length` switches so that time and I/O are looked at however busy the fibers are. Drivers and their handlers run
// on the loop's stack only, where current_fiber is null and nothing can suspend.
#include "fiber_state.hpp"
#include "intrusive_list.hpp"
#include "ready_queue.hpp"
#include "stack_pool.hpp"
#include "timer_queue.hpp"
#include "unstarted_queue.hpp"

#include <coir/driver.hpp>
#include <coir/hub_local.hpp>
#include <coir/inspect.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace coir {

class audited_hub;
class hub_group;
class testing_plan;

namespace testing {
struct schedule;
}

class scheduler {
public:
    scheduler(driver& driver, hub_group& group, std::size_t index, clock::duration timer_slack);
    scheduler(const scheduler&) = delete;
    scheduler& operator=(const scheduler&) = delete;
    ~scheduler();

    /// this_hub_number, where fibers of this hub run.
    std::uint32_t thread_number() const noexcept { return thread_number_; }

    /// The hub whose loop runs on this thread, if any.
    static scheduler* of_this_thread() noexcept { return current_scheduler; }

    hub_group& group() const noexcept { return group_; }
    std::size_t index() const noexcept { return index_; }

    /// From now on fibers of this hub may have a thread pointer of their own; `of_thread` is the hub's.
    void use_thread_pointers(void* of_thread) noexcept { thread_pointer_ = of_thread; }
    void* thread_pointer() const noexcept { return thread_pointer_; }
    /// Where others peek for the thread pointer of who runs; null there as long as that is the thread's.
    void* const* storage_in_use() const noexcept { return &storage_; }
    void note_storage(void* pointer) noexcept { storage_ = pointer; }

    /// Before `run`.
    void follow(testing::schedule* plan);
    void run();

    // Any thread:
    void cancel_all() noexcept;
    void post(hub_request& request) noexcept;
    void wake_up() noexcept;
    fiber_state& create_detached(const fiber_options& options, const fiber_entry& entry, void* callable);
    /// Lets any hub of the group start it.
    void offer(fiber_state& fiber) noexcept;
    unstarted_queue& unstarted() noexcept { return unstarted_; }
    std::atomic<bool> is_idle{false}; ///< the group's

    // From a fiber of this hub:
    void suspend() noexcept;
    void suspend(fiber_state& self) noexcept;
    void yield(fiber_state& self) noexcept;
    /// As `yield`, but it uses up more of the turn: who gives way has had the thread for long.
    void give_way(fiber_state& self) noexcept;
    void entered() noexcept { release_ended(); } ///< the first thing a new fiber does
    [[noreturn]] void leave(fiber_state& ended) noexcept;

    // On this hub's thread:
    fiber_state* start(const fiber_options& options, const fiber_entry& entry, void* callable, fiber_group* group);
    void make_ready(fiber_state& fiber) noexcept
    {
        if (current_fiber)
            ready_.push_woken(fiber);
        else
            ready_.push(fiber); // what comes from outside waits its turn
    }
    bool is_this_thread() const noexcept { return of_this_thread() == this; }

    // What a fiber's requests ask for.
    static void take_in(scheduler& hub, hub_request& request) noexcept;
    static void make_ready(scheduler& hub, hub_request& request) noexcept;
    static void interrupt(scheduler& hub, hub_request& request) noexcept;

    // Around fork, on the thread that calls it.
    void before_fork() noexcept;
    void after_fork() noexcept;
    void after_fork_in_child() noexcept;
    void renumber(std::size_t index) noexcept { index_ = index; }
    bool ends_process() const noexcept { return forked_ && !main_ended_; }
    void main_ended() noexcept { main_ended_ = true; }

    driver& events() noexcept { return driver_; }
    stack_pool& stacks() noexcept { return stacks_; }
    timer_queue& timers() noexcept { return timers_; }
    clock::time_point turn_time() const noexcept { return turn_time_; }
    fiber_state* first_fiber() const noexcept { return all_.first(); }
    std::vector<fiber_info> fibers() const;
    std::string describe() const;

    /// Another run is not to be cancelled by what came too late for the last.
    void forget_cancellation() noexcept { cancel_all_.store(false, std::memory_order_relaxed); }

    std::atomic<unsigned> outside_work{0};
    static constexpr std::size_t local_slots = 8;
    std::array<std::unique_ptr<hub_object>, local_slots> locals; ///< hub_local's

private:
    static constexpr int turn_length = 128;
    // Polling costs as much as dozens of switches, so it is for more than one turn; unless turns take long.
    static constexpr int turns_without_poll_max = 16;
    static constexpr std::chrono::microseconds time_without_poll_max{20};
    static constexpr std::chrono::seconds tend_every{1};
    static constexpr std::uint64_t ids_at_once = 16; ///< from a counter that all hubs share
    static constexpr unsigned posts_closed = 1U << 31;

    fiber_state* next() noexcept;
    fiber_id next_id() noexcept;
    void switch_to(context& from, fiber_state* next) noexcept;
    void switch_storage(context& from, fiber_state* next) noexcept;
    void* pointer_of(const fiber_state* fiber) const noexcept
    {
        return fiber && fiber->thread_pointer ? fiber->thread_pointer : thread_pointer_;
    }
    void run_ready();
    void on_deadlock();
    void wait();
    void tend_stacks() noexcept;
    void take_requests() noexcept;
    void take_unstarted() noexcept;
    void take_in(fiber_state& fiber) noexcept;
    void add(fiber_state& fiber) noexcept;
    /// For one more fiber, so that neither waking it nor setting its timer allocates.
    void make_room()
    {
        if (live_ == room_)
            make_more_room();
    }
    void make_more_room();
    void wake_due() noexcept;
    void release_ended() noexcept;
    void cancel_now() noexcept;

    class posting;

    std::unique_ptr<testing_plan> plan_; ///< null but in tests
    driver& driver_;
    hub_group& group_;
    std::size_t index_;
    stack_pool& stacks_;           ///< deletes itself when the last stack is back
    audited_hub* audit_ = nullptr; ///< on the same
    context* loop_ = nullptr;      ///< on the stack of `run`, because each run may be on another thread
    thread_globals globals_{};
    std::uint32_t thread_number_ = 0;
    void* thread_pointer_ = nullptr; ///< null: all fibers have that of the thread
    void* storage_ = nullptr;
    ready_queue ready_;
    int switches_left_ = 0;
    int turns_without_poll_ = 0;
    clock::time_point last_poll_;
    timer_queue timers_;
    const clock::duration timer_slack_;
    clock::time_point turn_time_;
    clock::time_point tend_at_ = never; ///< to the stacks
    intrusive_list<fiber_state, &fiber_state::all> all_;
    std::size_t live_ = 0;
    std::size_t room_ = 0; ///< for so many, in the two queues
    std::uint64_t next_id_ = 0;
    std::uint64_t ids_end_ = 0;
    bool counted_ = false; ///< has a unit of the group's work: it has, or had a moment ago, a live fiber
    unstarted_queue unstarted_;
    fiber_state* ended_ = nullptr; ///< has left for good; released by whoever runs next
    std::atomic<hub_request*> requests_{nullptr};
    std::atomic<unsigned> posting_{0}; ///< threads that are inside `post`, and `posts_closed`
    std::atomic<bool> cancel_all_{false};
    std::string deadlock_;    ///< the report, once it has come to that
    bool cancelling_ = false; ///< fibers started from now on are cancelled too
    bool forked_ = false;     ///< this process is a child that one of the fibers forked
    bool main_ended_ = false; ///< run_in's, in this process
};

// ---- the way every switch takes
// --------------------------------------------------------------------------------------

inline fiber_state* scheduler::next() noexcept
{
    if (ready_.empty() || --switches_left_ < 0)
        return nullptr;
    return &ready_.pop();
}

inline void scheduler::release_ended() noexcept
{
    if (auto* ended = ended_) [[unlikely]] {
        ended_ = nullptr;
        ended->release_ended();
    }
}

/// `next` is a fiber, or null for the loop.
inline void scheduler::switch_to(context& from, fiber_state* next) noexcept
{
    if (thread_pointer_) [[unlikely]] {
        switch_storage(from, next);
        return;
    }
    auto* const self = std::exchange(current_fiber, next);
    from.switch_to(next ? next->stack : *loop_, globals_);
    current_fiber = self; // null until now, if who has switched here has storage of its own
    release_ended();
}

inline void scheduler::suspend() noexcept
{
    suspend(*current_fiber);
}

inline void fiber_state::begin_wait(parking& wait, const wait_options& options) noexcept
{
    waiting = &options;
    waiting_since = hub().turn_time();
    ++wait_number;
    std::atomic_signal_fence(std::memory_order_release); // for a handler that comes now, the wait is whole
    parked = &wait;
}

inline void scheduler::suspend(fiber_state& self) noexcept
{
    auto* const following = next();
    if (following != &self)
        switch_to(self.stack, following);
}

inline void scheduler::yield(fiber_state& self) noexcept
{
    ready_.push(self);
    suspend(self);
}

inline void scheduler::give_way(fiber_state& self) noexcept
{
    switches_left_ -= turn_length / 8;
    yield(self);
}

} // namespace coir
