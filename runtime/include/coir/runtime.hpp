// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/driver.hpp>
#include <coir/fiber.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>

namespace coir {

class scheduler;

/// Fibers on one thread: a hub with its ready queue, timers and driver. Belongs to the thread that runs it.
///
///     coir::runtime fibers;
///     fibers.spawn([] { ... });
///     fibers.run();
class runtime {
public:
    /// The Asio driver: an io_context of its own.
    runtime();
    explicit runtime(std::unique_ptr<driver> driver);
    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;
    /// Cancels the fibers that are left and runs until they have ended.
    ~runtime();

    /// Starts a detached fiber. From the runtime's own thread.
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

    /// Runs fibers on the calling thread until none are left. Not from inside a fiber.
    /// Throws `deadlock` (testing.hpp) when the driver knows that nothing can happen any more.
    void run();
    /// Cancels every fiber: each ends at its next wait. Any thread. Never suspends.
    void cancel_all() noexcept;

private:
    void spawn_entry(const fiber_options& options, const fiber_entry& entry, void* callable);

    std::unique_ptr<driver> driver_;
    std::unique_ptr<scheduler> scheduler_;
};

/// Whether this process has ever had a runtime. Never suspends; one load.
bool runtimes_exist() noexcept;

/// Calls `main` in a fiber of `hub`, runs until it has ended, and cancels what is left over then. Returns what `main`
/// returned, or throws what it threw. The calling thread becomes the hub; not from inside a fiber.
template <class Main> std::invoke_result_t<Main&> run_in(runtime& hub, Main&& main)
{
    using result = std::invoke_result_t<Main&>;
    if (this_fiber::active()) // before `hub` has a fiber that could not be run any more
        throw std::logic_error{"coir::run: the caller is a fiber already"};
    std::exception_ptr failure;
    std::optional<std::conditional_t<std::is_void_v<result>, bool, result>> value;
    hub.spawn({.name = "main"}, [&] {
        try {
            if constexpr (std::is_void_v<result>)
                main();
            else
                value.emplace(main());
        } catch (...) {
            failure = std::current_exception();
        }
        hub.cancel_all();
    });
    hub.run();
    if (failure)
        std::rethrow_exception(failure);
    if constexpr (!std::is_void_v<result>)
        return std::move(*value);
}

/// The usual way in: a runtime with its own io_context around `main`.
///
///     int main() { coir::run([] { ... }); }
template <class Main> std::invoke_result_t<Main&> run(Main&& main)
{
    runtime hub;
    return run_in(hub, std::forward<Main>(main));
}

} // namespace coir
