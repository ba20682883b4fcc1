// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber.hpp>
#include <coir/wait_queue.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>

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

/// Queues work for the pool of helper threads, which grows on demand up to `offload_threads_max()`. Never suspends.
/// Throws std::system_error when not even one thread can be started.
void offload_submit(offload_job& job);
/// Four per core, at least 16. COIR_OFFLOAD_THREADS in the environment overrides it.
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
/// that cannot be made to yield. Returns what it returned or throws what it threw. Cancellation waits for it: the
/// function may use the caller's variables. On a plain thread, just calls it.
///
///     auto digest = coir::offload([&] { return sha256(file); });
template <class Function> std::invoke_result_t<Function&> offload(Function&& function)
{
    using result = std::invoke_result_t<Function&>;
    if (!this_fiber::active())
        return function();

    struct job final : offload_job {
        Function& function;
        std::optional<std::conditional_t<std::is_void_v<result>, bool, result>> value;
        std::exception_ptr failure;
        parking caller;

        explicit job(Function& work) : function{work} {}
        void run() noexcept override
        {
            try {
                if constexpr (std::is_void_v<result>)
                    function();
                else
                    value.emplace(function());
            } catch (...) {
                failure = std::current_exception();
            }
            caller.claim();
            caller.wake();
        }
    };

    this_fiber::check_cancelled();
    job work{function};
    outside_work counted;
    offload_submit(work);
    work.caller.park({.reason = {"offload"}, .interruptible = false});
    if (work.failure)
        std::rethrow_exception(std::move(work.failure));
    if constexpr (!std::is_void_v<result>)
        return std::move(*work.value); // NOLINT(bugprone-unchecked-optional-access): run() has set one or the other
}

} // namespace coir
