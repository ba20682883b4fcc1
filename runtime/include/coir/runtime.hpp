// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/driver.hpp>
#include <coir/fiber.hpp>
#include <coir/hub.hpp>
#include <coir/inspect.hpp>
#include <coir/outcome.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace coir {

class hub_group;

namespace testing {
struct schedule;
}

/// The processors that this process may use (sched_getaffinity(2)). COIR_HUBS in the environment overrides it.
std::size_t default_hub_count() noexcept;

struct runtime_options {
    std::size_t hubs = 0; ///< threads, each with fibers of its own; 0: `default_hub_count()`
    /// How much later than asked for a sleep or a deadline may end, so that a hub which has nothing else to do wakes
    /// once for several. What Linux allows ordinary threads, by default (prctl(2), PR_SET_TIMERSLACK); less for
    /// precision, 1 ms for many sleepers.
    std::chrono::nanoseconds timer_slack = std::chrono::microseconds{50};
};

/// What was left when a shutdown ran out of time.
struct shutdown_report {
    std::vector<fiber_info> fibers; ///< cancelled, and have not ended
    std::size_t silent_hubs = 0; ///< did not say: one of their fibers keeps the thread and does not wait for anything

    /// Whether everything had ended.
    bool complete() const noexcept { return fibers.empty() && silent_hubs == 0; }
};

/// Fibers, and the hubs they live on: threads that run them, each with a ready queue, timers and a driver of its own.
///
/// `spawn` places: a fiber starts on whichever hub is idle first, and stays there until it ends. Either `run` it on
/// the calling thread and as many others as it takes, or `start` it in the background. All but the destructor, `run`
/// and `start` may be called from any thread.
///
///     coir::runtime workers{{.hubs = 4}};
///     for (auto& file : files)
///         workers.spawn([&] { digest(file); });
///     workers.run();
class runtime {
public:
    /// Hubs with the Asio driver: an io_context each.
    explicit runtime(const runtime_options& options = {});
    /// One hub. With a plan (testing.hpp), which must outlive it, that says who runs next.
    explicit runtime(std::unique_ptr<driver> driver, testing::schedule* plan = nullptr,
                     std::chrono::nanoseconds timer_slack = {});
    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;
    /// Cancels the fibers that are left and waits until they have ended. Not from one of them.
    ~runtime();

    /// Starts a detached fiber on any hub: it shares data as threads do. Never suspends. Throws std::system_error when
    /// no stack can be had, and with std::errc::operation_canceled after `shutdown`.
    template <class Function, class... Args>
    void spawn(const fiber_options& options, Function&& function, Args&&... args)
    {
        auto callable = bind_fiber(std::forward<Function>(function), std::forward<Args>(args)...);
        spawn_entry(options, fiber_entry::of<decltype(callable)>(), &callable);
    }
    template <class Function, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber_options>)
    void spawn(Function&& function, Args&&... args)
    {
        spawn(fiber_options{}, std::forward<Function>(function), std::forward<Args>(args)...);
    }

    std::size_t hub_count() const noexcept;
    /// The calling thread becomes hub 0 in `run`.
    coir::hub hub(std::size_t index) const noexcept;

    /// Runs fibers on the calling thread, and one more for each further hub, until none are left. Not from inside a
    /// fiber. Throws `deadlock` (testing.hpp) when the driver knows that nothing can happen any more, and
    /// std::system_error when a thread cannot be started.
    void run();
    /// Runs fibers on threads of its own until `shutdown` or the destructor, also while there are none.
    void start();
    /// Cancels every fiber: each ends at its next wait. Never suspends.
    void cancel_all() noexcept;
    /// Refuses what is spawned from now on, cancels every fiber and waits until all have ended: suspends, or blocks a
    /// plain thread. If the time runs out first, says who is left; they go on to be waited for by the destructor, or by
    /// another call. Throws std::logic_error in a fiber of this runtime, and `cancelled`, `timed_out`.
    template <class Rep, class Period> shutdown_report shutdown(const std::chrono::duration<Rep, Period>& limit)
    {
        return shutdown_before(deadline_after(limit));
    }

private:
    template <class Main> friend std::invoke_result_t<Main&> run_in(runtime& fibers, Main&& main);
    void spawn_entry(const fiber_options& options, const fiber_entry& entry, void* callable);
    shutdown_report shutdown_before(clock::time_point deadline);
    void main_ended() noexcept;

    std::unique_ptr<hub_group> hubs_;
};

/// Whether this process has ever had a runtime. Never suspends; one load.
bool runtimes_exist() noexcept;

/// Calls `main` in a fiber of hub 0, which is the calling thread; runs until it has ended, and cancels what is left
/// over then. Returns what `main` returned, or throws what it threw. Not from inside a fiber.
template <class Main> std::invoke_result_t<Main&> run_in(runtime& fibers, Main&& main)
{
    using result = std::invoke_result_t<Main&>;
    if (this_fiber::active()) // before there is a fiber that could not be run any more
        throw std::logic_error{"coir::run: the caller is a fiber already"};
    outcome<result> ended;
    fibers.hub(0).post({.name = "main"}, [&] {
        ended.run(main);
        fibers.main_ended();
    });
    fibers.run();
    return ended.take();
}

/// The usual way in: a runtime around `main`, of one hub unless the options say otherwise.
///
///     int main() { coir::run([] { ... }); }
template <class Main> std::invoke_result_t<Main&> run(const runtime_options& options, Main&& main)
{
    runtime fibers{options};
    return run_in(fibers, std::forward<Main>(main));
}
template <class Main>
    requires(!std::is_same_v<std::remove_cvref_t<Main>, runtime_options>)
std::invoke_result_t<Main&> run(Main&& main)
{
    return run({.hubs = 1}, std::forward<Main>(main));
}

} // namespace coir
