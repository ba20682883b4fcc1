// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber.hpp>
#include <coir/future.hpp>

#include <memory>
#include <tuple>

namespace coir {

/// The fiber of an `async`. Its last future ends it: waits for it, and cancels it first if an exception is on its way.
class async_fiber {
public:
    async_fiber() noexcept = default;
    async_fiber(const async_fiber&) = delete;
    async_fiber& operator=(const async_fiber&) = delete;
    ~async_fiber();

    void started(fiber_state* owned) noexcept { state_ = owned; }
    void wait_until_ended() noexcept;

private:
    fiber_state* state_ = nullptr;
};

template <class Result> class async_state final : public future_state<Result> {
public:
    async_fiber fiber;

private:
    // As std says: when the result is there, the function's thread has ended.
    void settle() noexcept override { fiber.wait_until_ended(); }
};

template <class Result, class Bound> class deferred_state final : public future_state<Result> {
public:
    explicit deferred_state(Bound bound)
        : future_state<Result>{future_state_base::kind::deferred}, bound_{std::move(bound)}
    {
    }

private:
    void run_deferred() override
    {
        this->claim();
        this->run([this]() -> Result { return std::apply(invoke_moved, std::exchange(bound_, std::nullopt).value()); });
    }
    static constexpr auto invoke_moved = [](auto&&... parts) -> Result { return std::invoke(std::move(parts)...); };
    std::optional<Bound> bound_;
};

template <class Function, class... Args>
using async_result = std::invoke_result_t<std::decay_t<Function>, std::decay_t<Args>...>;

/// Whether a fiber can be started here: a hub runs on this thread.
bool can_start_fiber() noexcept;

/// std::async with a fiber for a thread: calls the function in a new fiber of this hub and gives a future of its
/// result.
///
/// Never suspends. The last future's destructor waits for the fiber, as std's does; if that runs because of an
/// exception, it cancels the fiber. A function that is cancelled has no result: its future throws future_error
/// (broken_promise), never `cancelled`, which would look as if the one who asks had been cancelled.
/// `launch::deferred` calls the function in the first `wait` or `get` instead. By default that happens only on a thread
/// without a hub; `launch::async` throws std::logic_error there. Throws std::system_error when no stack can be had.
///
///     auto left = coir::async(sum, numbers.first(half));
///     auto right = coir::async({.name = "right"}, sum, numbers.subspan(half));
///     total = left.get() + right.get();
template <class Function, class... Args>
future<async_result<Function, Args...>> async(launch policy, const fiber_options& options, Function&& function,
                                              Args&&... args)
{
    using result = async_result<Function, Args...>;
    std::tuple<std::decay_t<Function>, std::decay_t<Args>...> bound(std::forward<Function>(function),
                                                                    std::forward<Args>(args)...);
    const bool may_defer = (policy & launch::deferred) != launch{};
    const bool may_start = (policy & launch::async) != launch{};
    if (may_defer && (!may_start || !can_start_fiber()))
        return future<result>::of(
            state_ref<future_state<result>>{new deferred_state<result, decltype(bound)>{std::move(bound)}});

    auto* const state = new async_state<result>;
    auto owner = state_ref<future_state<result>>{state};
    // The fiber needs no reference: the last one waits for it.
    auto body = [state, bound = std::move(bound)]() mutable {
        state->claim();
        state->run([&]() -> result {
            return std::apply([](auto&&... parts) -> result { return std::invoke(std::move(parts)...); },
                              std::move(bound));
        });
    };
    state->fiber.started(start_fiber(options, fiber_entry::of<decltype(body)>(), &body));
    return future<result>::of(std::move(owner));
}

template <class Function, class... Args>
    requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber_options>)
future<async_result<Function, Args...>> async(launch policy, Function&& function, Args&&... args)
{
    return async(policy, fiber_options{.name = "async"}, std::forward<Function>(function), std::forward<Args>(args)...);
}

template <class Function, class... Args>
future<async_result<Function, Args...>> async(const fiber_options& options, Function&& function, Args&&... args)
{
    return async(launch::async | launch::deferred, options, std::forward<Function>(function),
                 std::forward<Args>(args)...);
}

template <class Function, class... Args>
    requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber_options> &&
             !std::is_same_v<std::remove_cvref_t<Function>, launch>)
future<async_result<Function, Args...>> async(Function&& function, Args&&... args)
{
    return async(launch::async | launch::deferred, std::forward<Function>(function), std::forward<Args>(args)...);
}

} // namespace coir
