// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/context_value.hpp>
#include <coir/fiber.hpp>
#include <coir/outcome.hpp>
#include <coir/wait_queue.hpp>

#include <functional>
#include <memory>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace coir {

/// A piece of work for a helper thread. Whoever queues it keeps it alive until `run` has returned.
class offload_job {
public:
    offload_job() = default;
    offload_job(const offload_job&) = delete;
    offload_job& operator=(const offload_job&) = delete;
    virtual ~offload_job() = default;
    virtual void run() noexcept = 0;

    offload_job* next = nullptr; ///< the pool's
};

/// Helper threads for work that computes or blocks, started on demand up to a limit. What does not find a thread waits
/// for one, in order. There is one for everybody, `shared`; a pool of your own keeps one kind of work from waiting for
/// another, or bounds it: a library that may be called by two threads at a time at most.
///
///     coir::offload_pool disk{2};
///     auto bytes = coir::offload(disk, [&] { return read_all(path); });
///
/// Any thread and any fiber may use it. A child made by fork has a new `shared` one; those of its own are not to be
/// used there.
class offload_pool {
public:
    /// Does not start a thread yet.
    explicit offload_pool(std::size_t threads_max);
    offload_pool(const offload_pool&) = delete;
    offload_pool& operator=(const offload_pool&) = delete;
    /// Suspends until what has been queued is done and the threads have ended.
    ~offload_pool();

    /// Up to `offload_threads_max()` threads, which never end: what they run may be blocked in the kernel for good.
    static offload_pool& shared();

    /// Queues work. Never suspends. Throws std::system_error when not even one thread can be started.
    void submit(offload_job& job);
    std::size_t threads_max() const noexcept { return threads_max_; }

private:
    void start_thread(offload_job& first);
    void serve() noexcept;

    spin_lock guard_; ///< for all that follows
    offload_job* first_ = nullptr;
    offload_job* last_ = nullptr;
    wait_queue idle_threads_;
    wait_queue ended_;
    std::size_t queued_ = 0;
    std::size_t idle_ = 0;
    std::size_t threads_ = 0;
    const std::size_t threads_max_;
    bool closed_ = false;
};

/// Queues work for the shared pool.
inline void offload_submit(offload_job& job)
{
    offload_pool::shared().submit(job);
}
/// The shared pool's: four per core, at least 16. COIR_OFFLOAD_THREADS in the environment overrides it.
std::size_t offload_threads_max() noexcept;

/// Counts work outside of fibers that is going to wake the calling fiber's hub; see driver::wait.
class [[nodiscard]] outside_work {
public:
    outside_work() noexcept;
    ~outside_work();
    outside_work(const outside_work&) = delete;
    outside_work& operator=(const outside_work&) = delete;

private:
    fiber_state* fiber_;
};

/// Calls `function` on a helper thread and suspends until it has returned: for work that computes, or blocks in a way
/// that cannot be made to yield. Returns what it returned or throws what it threw. It sees the values that are bound
/// here (context_value.hpp). On a plain thread, just calls it.
///
/// Cancelled before it begins, it throws. Afterwards it waits for the function whatever happens, for the function may
/// use the caller's variables; the next wait throws then. See `offload_abandonable`.
///
///     auto digest = coir::offload([&] { return sha256(file); });
template <class Function> std::invoke_result_t<Function&> offload(offload_pool& pool, Function&& function)
{
    if (!this_fiber::active())
        return std::invoke(function);

    struct job final : offload_job {
        Function& function;
        outcome<std::invoke_result_t<Function&>> result;
        context_snapshot bound;
        parking caller;

        explicit job(Function& work) : function{work} {}
        void run() noexcept override
        {
            bound.run([&] { result.run(function); });
            caller.claim();
            caller.wake();
        }
    };

    this_fiber::check_cancelled();
    job work{function};
    const outside_work counted;
    pool.submit(work);
    work.caller.park({.reason = {"offload"}, .interruptible = false});
    return work.result.take();
}
template <class Function> std::invoke_result_t<Function&> offload(Function&& function)
{
    return offload(offload_pool::shared(), std::forward<Function>(function));
}

template <class Function>
using abandonable_result =
    typename std::conditional_t<std::is_invocable_v<Function&, std::stop_token>,
                                std::invoke_result<Function&, std::stop_token>, std::invoke_result<Function&>>::type;

/// As `offload`, but who is cancelled, or runs out of time, does not wait for the function: it throws, and the function
/// goes on without anybody looking. So the function must own all that it uses. If it takes a std::stop_token first,
/// that one stops then. What an abandoned function returns or throws is destroyed on its thread.
///
///     coir::timeout limit{2s};
///     auto entry = coir::offload_abandonable([name](std::stop_token stop) { return look_up(name, stop); });
template <class Function>
abandonable_result<std::decay_t<Function>> offload_abandonable(offload_pool& pool, Function&& function)
{
    struct job final : offload_job {
        std::decay_t<Function> function;
        std::stop_source stop;
        outcome<abandonable_result<std::decay_t<Function>>> result;
        context_snapshot bound;
        parking caller;
        std::shared_ptr<job> itself; ///< while it is the pool's

        explicit job(Function&& work) : function(std::forward<Function>(work)) {}
        abandonable_result<std::decay_t<Function>> call()
        {
            if constexpr (std::is_invocable_v<std::decay_t<Function>&, std::stop_token>)
                return std::invoke(function, stop.get_token());
            else
                return std::invoke(function);
        }
        void run() noexcept override
        {
            bound.run([this] { result.run([this]() -> decltype(auto) { return call(); }); });
            const auto until_here = std::move(itself);
            if (caller.claim())
                caller.wake();
        }
    };

    const auto work = std::make_shared<job>(std::forward<Function>(function));
    if (!this_fiber::active())
        return work->call();

    this_fiber::check_cancelled();
    work->itself = work;
    const outside_work counted;
    try {
        pool.submit(*work);
    } catch (...) {
        work->itself.reset();
        throw;
    }
    const auto cause = work->caller.park({.reason = {"offload"}});
    if (cause != wake_cause::notified)
        work->stop.request_stop();
    throw_if_interrupted(cause);
    return work->result.take();
}
template <class Function> abandonable_result<std::decay_t<Function>> offload_abandonable(Function&& function)
{
    return offload_abandonable(offload_pool::shared(), std::forward<Function>(function));
}

/// A callable that offloads each call of `function`, for where a function is wanted: callbacks, `map`.
///
///     auto hash = coir::offloaded([](const std::string& path) { return sha256(path); });
///     auto digests = coir::map(paths, hash);
template <class Function> auto offloaded(offload_pool& pool, Function&& function)
{
    return [&pool, callable = std::decay_t<Function>(std::forward<Function>(function))](
               auto&&... arguments) -> decltype(auto) {
        return offload(pool, [&]() -> decltype(auto) {
            return std::invoke(callable, std::forward<decltype(arguments)>(arguments)...);
        });
    };
}
template <class Function> auto offloaded(Function&& function)
{
    return offloaded(offload_pool::shared(), std::forward<Function>(function));
}

} // namespace coir
