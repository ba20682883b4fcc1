// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/deadline.hpp>
#include <coir/spin_lock.hpp>
#include <coir/wait_queue.hpp>

#include <functional>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace coir {

/// A part of a fiber that others can cancel without cancelling the fiber.
///
/// What `run` calls is cut off at its next wait once somebody has called `cancel`, the scope's deadline has passed, or
/// the stop_token that it is linked to stops: that wait and each one after it throws `cancelled`, or `timed_out` for
/// the deadline, up to the edge of the scope. There it stops, and `run` says so. What cancels more than this scope,
/// such as `fiber::cancel`, passes through. Nests with `timeout` and `shield`.
///
///     coir::cancel_scope search;
///     coir::fiber user{[&] { wait_for_key(); search.cancel(); }};
///     if (!search.run([&] { look_everywhere(); }))
///         std::puts("given up");
///
/// One fiber at a time may be in `run`. `cancel` from any thread, as long as the scope lives. On a plain thread `run`
/// just calls the function: nothing cuts it off.
class cancel_scope : public wait_scope {
public:
    cancel_scope() noexcept : wait_scope{never, kind::cancel_scope} {}
    /// With a deadline, or linked to a stop_token, or both. A limit counts from now on, not from `run`.
    explicit cancel_scope(std::stop_token stop) : wait_scope{never, kind::cancel_scope} { link(std::move(stop)); }
    template <class Rep, class Period>
    explicit cancel_scope(const std::chrono::duration<Rep, Period>& limit, std::stop_token stop = {})
        : wait_scope{deadline_after(limit), kind::cancel_scope}
    {
        link(std::move(stop));
    }
    template <class Clock, class Duration>
    explicit cancel_scope(const std::chrono::time_point<Clock, Duration>& deadline, std::stop_token stop = {})
        : wait_scope{deadline_at(deadline), kind::cancel_scope}
    {
        link(std::move(stop));
    }
    ~cancel_scope() = default;

    /// Calls `function` and returns what it returns in an optional, or true if that is nothing; the empty optional or
    /// false if it was cut off. A reference comes as a pointer. Suspends as `function` does, throws what it throws, and
    /// std::logic_error if it runs already.
    template <class Function> auto run(Function&& function);

    /// Cuts off what is inside, now and each time it is run from now on. Any thread. Never suspends.
    void cancel() noexcept;
    bool cancel_requested() const noexcept { return cancelled_.load(std::memory_order_relaxed); }
    clock::time_point deadline() const noexcept { return at_; }

private:
    friend class coroutine_state;
    struct inside;
    struct canceller {
        cancel_scope& scope;
        void operator()() const noexcept { scope.cancel(); }
    };

    void link(std::stop_token stop)
    {
        if (stop.stop_possible())
            link_.emplace(std::move(stop), canceller{*this});
    }
    void begin();
    void finish() noexcept;
    void moved_to(fiber_state* fiber) noexcept;
    /// In a handler for `cancelled`, out of the scope: rethrows it unless it was this scope alone that cut off.
    void absorb();

    spin_lock guard_;
    fiber_state* inside_ = nullptr; ///< who is in `run`; null on a plain thread, and while its coroutine is suspended
    bool running_ = false;
    std::optional<std::stop_callback<canceller>> link_; ///< the last member: its destructor waits for a `cancel`
};

/// Calls `function` for at most `limit`, or until an instant, and goes on: what `cancel_scope::run` returns. Unlike
/// with_timeout, which throws when the time ran out. Suspends as `function` does.
///
///     std::optional<answer> first = coir::try_for(200ms, [&] { return ask(server); });
template <class Rep, class Period, class Function>
auto try_for(const std::chrono::duration<Rep, Period>& limit, Function&& function)
{
    return cancel_scope{limit}.run(std::forward<Function>(function));
}
template <class Clock, class Duration, class Function>
auto try_until(const std::chrono::time_point<Clock, Duration>& deadline, Function&& function)
{
    return cancel_scope{deadline}.run(std::forward<Function>(function));
}

// ---------------------------------------------------------------------------------------------------------------------

struct cancel_scope::inside {
    explicit inside(cancel_scope& entered) : scope{entered} { scope.begin(); }
    inside(const inside&) = delete;
    inside& operator=(const inside&) = delete;
    ~inside() { scope.finish(); }
    cancel_scope& scope;
};

template <class Function> auto cancel_scope::run(Function&& function)
{
    using result = std::invoke_result_t<Function>;
    try {
        const inside scope{*this};
        if constexpr (std::is_void_v<result>) {
            std::invoke(std::forward<Function>(function));
            return true;
        } else if constexpr (std::is_reference_v<result>) {
            return std::addressof(std::invoke(std::forward<Function>(function)));
        } else {
            return std::optional<result>{std::invoke(std::forward<Function>(function))};
        }
    } catch (const cancelled&) {
        absorb();
    }
    if constexpr (std::is_void_v<result>)
        return false;
    else if constexpr (std::is_reference_v<result>)
        return static_cast<std::add_pointer_t<result>>(nullptr);
    else
        return std::optional<result>{};
}

} // namespace coir
