// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/future_state.hpp>

namespace coir {

template <class T> class shared_future;

/// What future and shared_future have in common.
///
/// Every wait throws `cancelled` or `timed_out` if the caller is interrupted; the future then stays valid, and the
/// result is not lost. Without a state they throw future_error (no_state).
template <class T> class basic_future {
public:
    bool valid() const noexcept { return static_cast<bool>(state_); }

    /// Suspends until there is a result. Calls the function of a deferred `async`.
    void wait() const { state_->wait(); }
    /// Suspends until there is a result or the time has run out. `deferred`, at once, if `wait` would call a function.
    template <class Rep, class Period> future_status wait_for(const std::chrono::duration<Rep, Period>& limit) const
    {
        return state_->wait_before(deadline_after(limit));
    }
    template <class Clock, class Duration>
    future_status wait_until(const std::chrono::time_point<Clock, Duration>& instant) const
    {
        return state_->wait_before(deadline_at(instant));
    }

protected:
    using state = future_state<T>;
    basic_future() noexcept = default;
    explicit basic_future(state_ref<state> shared) noexcept : state_{std::move(shared)} {}
    state& wait_for_result() const
    {
        auto& shared = *state_;
        shared.wait();
        return shared;
    }

    state_ref<state> state_;

private:
    friend class ready_case;
};

/// std::future for fibers, hubs and plain threads: where a result arrives that a promise, a packaged_task or `async`
/// provides.
///
/// Distinct objects: safe. Shared: not, see shared_future. The destructor waits only for an `async` (async.hpp).
///
///     coir::promise<int> answer;
///     coir::fiber thinker{[&] { answer.set_value(42); }};
///     CHECK(answer.get_future().get() == 42);
template <class T> class [[nodiscard]] future : public basic_future<T> {
public:
    future() noexcept = default;
    future(future&&) noexcept = default;
    future& operator=(future&&) noexcept = default;
    future(const future&) = delete;
    future& operator=(const future&) = delete;

    /// Suspends until there is a result, and returns or throws it. The future is not valid afterwards.
    T get()
    {
        this->wait_for_result();
        const auto shared = std::exchange(this->state_, {});
        shared->rethrow_failure();
        if constexpr (std::is_reference_v<T>)
            return shared->value();
        else if constexpr (!std::is_void_v<T>)
            return std::move(shared->value());
    }

    /// Gives the result to many; this future is not valid afterwards.
    shared_future<T> share() noexcept { return shared_future<T>{std::move(*this)}; }

    /// For those who make one: takes the state's one future. Throws future_already_retrieved, no_state.
    static future of(state_ref<future_state<T>> shared)
    {
        shared->retrieve();
        return future{std::move(shared)};
    }

private:
    friend class shared_future<T>;
    explicit future(state_ref<future_state<T>> shared) noexcept : basic_future<T>{std::move(shared)} {}
};

/// std::shared_future: a result for many. Copies may be used from different fibers and threads at the same time.
template <class T> class shared_future : public basic_future<T> {
public:
    shared_future() noexcept = default;
    // NOLINTNEXTLINE(google-explicit-constructor): as std's
    shared_future(future<T>&& from) noexcept : basic_future<T>{std::exchange(from.state_, {})} {}

    /// Suspends until there is a result, and refers to it or throws it.
    std::conditional_t<std::is_void_v<T> || std::is_reference_v<T>, T, std::add_lvalue_reference_t<const T>> get() const
    {
        auto& shared = this->wait_for_result();
        shared.rethrow_failure();
        if constexpr (!std::is_void_v<T>)
            return shared.value();
    }
};

} // namespace coir
