// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/future.hpp>

namespace coir {

/// A packaged_task's state: the function, and room for its result.
template <class Result, class... Args> class task_state : public future_state<Result> {
public:
    virtual void call(Args... args) = 0;
    /// The same function with room for another result.
    virtual task_state* renewed() = 0;
};

template <class Function, class Result, class... Args> class task_state_of final : public task_state<Result, Args...> {
public:
    template <class From> explicit task_state_of(From&& from) : function_(std::forward<From>(from)) {}
    void call(Args... args) override
    {
        this->claim();
        if constexpr (std::is_void_v<Result>)
            this->run([&] { std::invoke(function_, std::forward<Args>(args)...); });
        else
            this->run([&]() -> Result { return std::invoke(function_, std::forward<Args>(args)...); });
    }
    task_state<Result, Args...>* renewed() override { return new task_state_of{std::move(function_)}; }

private:
    Function function_;
};

/// std::packaged_task: a function whose result goes to a future. Call it where you like: in a fiber, in a thread.
///
/// An exception goes to the future. `cancelled` does not: it breaks the promise (future_error, broken_promise) and
/// unwinds the fiber that called the task. Distinct objects: safe. Shared: not.
///
///     coir::packaged_task<int(int)> square{[](int number) { return number * number; }};
///     auto result = square.get_future();
///     coir::fiber worker{std::move(square), 7};
///     CHECK(result.get() == 49);
template <class Signature> class packaged_task;

template <class Result, class... Args> class packaged_task<Result(Args...)> {
public:
    packaged_task() noexcept = default;
    template <class Function>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, packaged_task> &&
                 std::is_invocable_r_v<Result, std::decay_t<Function>&, Args...>)
    explicit packaged_task(Function&& function)
        : state_{new task_state_of<std::decay_t<Function>, Result, Args...>{std::forward<Function>(function)}}
    {
    }
    packaged_task(packaged_task&&) noexcept = default;
    packaged_task& operator=(packaged_task&& other) noexcept
    {
        packaged_task{std::move(other)}.swap(*this);
        return *this;
    }
    /// Breaks the promise if the task has not been called.
    ~packaged_task()
    {
        if (state_)
            state_->abandon();
    }

    bool valid() const noexcept { return static_cast<bool>(state_); }
    /// Once. Throws future_error (future_already_retrieved, no_state).
    future<Result> get_future() { return future<Result>::of(state_ref<future_state<Result>>{state_}); }

    /// Suspends as the function does. Throws future_error (promise_already_satisfied, no_state), `cancelled`.
    void operator()(Args... args)
    {
        const auto state = state_; // who waits for the result may destroy the task
        state->call(std::forward<Args>(args)...);
    }

    /// Makes it callable again, with a new future. Throws future_error (no_state).
    void reset() { *this = packaged_task{state_->renewed()}; }

    void swap(packaged_task& other) noexcept { std::swap(state_, other.state_); }
    friend void swap(packaged_task& left, packaged_task& right) noexcept { left.swap(right); }

private:
    using state = task_state<Result, Args...>;
    explicit packaged_task(state* owned) noexcept : state_{owned} {}

    state_ref<state> state_;
};

template <class Result, class... Args> packaged_task(Result (*)(Args...)) -> packaged_task<Result(Args...)>;

} // namespace coir
