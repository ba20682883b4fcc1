// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/cancellation.hpp>
#include <coir/clock.hpp>
#include <coir/deadline.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace coir {

class fiber_group;
class fiber_state;

/// Identifies a fiber for ever: numbers are not used again. The default value is "no fiber".
struct fiber_id {
    std::uint64_t value = 0;
    friend auto operator<=>(const fiber_id&, const fiber_id&) = default;
};
std::ostream& operator<<(std::ostream& out, fiber_id id);

/// Where a fiber may start. It lives there until it ends.
enum class placement : std::uint8_t {
    this_hub, ///< on the hub of who starts it: the two never run at the same time
    any_hub,  ///< on whichever hub of the runtime is idle first: the two share data as threads do
};

struct fiber_options {
    std::string_view name{};    ///< for the dump and for gdb; the first 31 characters are kept
    std::size_t stack_size = 0; ///< bytes of address space, guard page included; 0: `default_stack_size()`
    placement on = placement::this_hub;
};

/// 256 KiB, committed by touch; four times as much under a sanitizer. COIR_STACK_SIZE in the environment overrides it.
std::size_t default_stack_size() noexcept;

/// How the runtime moves, calls and destroys a callable whose type it does not know.
struct fiber_entry {
    std::size_t size;
    std::size_t alignment;
    void (*move)(void* from, void* to);
    void (*call)(void* callable);
    void (*destroy)(void* callable) noexcept;

    template <class Callable> static const fiber_entry& of() noexcept;
};

/// A microthread: looks like a std::jthread, costs a page.
///
/// Starts when the calling hub next comes round to it, or another hub if its options say `any_hub`; lives and dies
/// there. The destructor asks its stop_token to stop and joins; it also cancels the fiber when it runs because of an
/// exception. Distinct objects: safe. Shared: `cancel` and `request_stop` may be called from any thread, but not while
/// another joins, moves or destroys this very object.
///
///     coir::fiber reader{{.name = "reader"}, [&] { read_all(socket); }};
///     reader.join();
class fiber {
public:
    using id = fiber_id;

    fiber() noexcept = default;
    /// Throws std::system_error when no stack can be had, and std::logic_error outside of a runtime.
    /// As with std::jthread, a callable that takes a std::stop_token first is given one.
    template <class Function, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber> &&
                 !std::is_same_v<std::remove_cvref_t<Function>, fiber_options>)
    explicit fiber(Function&& function, Args&&... args)
        : fiber{fiber_options{}, std::forward<Function>(function), std::forward<Args>(args)...}
    {
    }
    template <class Function, class... Args>
    explicit fiber(const fiber_options& options, Function&& function, Args&&... args);

    fiber(fiber&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
    fiber& operator=(fiber&& other) noexcept;
    ~fiber();

    /// Suspends until the fiber has ended, and rethrows what it ended with: cancellation is not a failure.
    /// Throws std::system_error as std::jthread does (not joinable, joining oneself), `cancelled`, `timed_out`.
    void join();
    /// Suspends. False if the time ran out first.
    template <class Rep, class Period> bool join_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return join_before(deadline_after(limit));
    }
    /// Lets it run on its own until it ends or the runtime does. An exception that it ends with terminates.
    void detach();

    bool joinable() const noexcept { return state_ != nullptr; }
    id get_id() const noexcept;

    /// Ends the fiber at its next wait, which throws `cancelled`; its stop_token stops too. Never suspends.
    void cancel() noexcept;
    /// As std::jthread: the stop_token only; waits are not interrupted. Never suspends.
    bool request_stop() noexcept;
    std::stop_token get_stop_token() const noexcept;

    void swap(fiber& other) noexcept { std::swap(state_, other.state_); }

private:
    friend class fiber_group;
    friend class ended_case; // select_cases.hpp
    bool join_before(clock::time_point deadline);

    fiber_state* state_ = nullptr;
};

/// The fiber that runs on this thread now; null on a plain thread and between fibers. One of coir's two globals: C
/// functions that are to suspend "whoever calls" have no other way to know who that is. Fibers never change threads, so
/// its address may be cached across a suspension.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local fiber_state* current_fiber;

namespace this_fiber {

/// Whether the caller runs in a fiber. Never suspends; one load.
inline bool active() noexcept
{
    return current_fiber != nullptr;
}

/// Lets every fiber that is ready run first. Suspends; throws `cancelled`, `timed_out`. On a plain thread, yields that.
void yield();

/// Suspends. Throws `cancelled`, `timed_out`. On a plain thread, sleeps.
void sleep_until_deadline(clock::time_point deadline);
template <class Rep, class Period> void sleep_for(const std::chrono::duration<Rep, Period>& duration)
{
    sleep_until_deadline(deadline_after(duration));
}
template <class Clock, class Duration> void sleep_until(const std::chrono::time_point<Clock, Duration>& instant)
{
    do
        sleep_until_deadline(deadline_at(instant));
    while (Clock::now() < instant);
}

/// None of these suspends.
fiber_id get_id() noexcept;
std::string_view get_name() noexcept;
std::stop_token get_stop_token();
/// Throws `cancelled` or `timed_out` if the next wait would.
void check_cancelled();

} // namespace this_fiber

/// Asserts that a stretch of code does not suspend: a wait inside of it terminates and names the fiber.
class [[nodiscard]] no_suspend {
public:
    no_suspend() noexcept;
    ~no_suspend();
    no_suspend(const no_suspend&) = delete;
    no_suspend& operator=(const no_suspend&) = delete;
};

// ---------------------------------------------------------------------------------------------------------------------

template <class Callable> const fiber_entry& fiber_entry::of() noexcept
{
    static constexpr fiber_entry entry{
        sizeof(Callable), alignof(Callable),
        [](void* from, void* to) { ::new (to) Callable(std::move(*static_cast<Callable*>(from))); },
        [](void* callable) { (*static_cast<Callable*>(callable))(); },
        [](void* callable) noexcept { static_cast<Callable*>(callable)->~Callable(); }};
    return entry;
}

/// Moves `*callable` to a new fiber, a member of `group` if there is one, and lets it start. The caller owns the
/// result.
fiber_state* start_fiber(const fiber_options& options, const fiber_entry& entry, void* callable,
                         fiber_group* group = nullptr);

/// A callable of no arguments, as the constructor of std::jthread makes one of its own.
template <class Function, class... Args> auto bind_fiber(Function&& function, Args&&... args)
{
    return [bound = std::tuple<std::decay_t<Function>, std::decay_t<Args>...>(std::forward<Function>(function),
                                                                              std::forward<Args>(args)...)]() mutable {
        std::apply(
            [](std::decay_t<Function>&& callable, std::decay_t<Args>&&... rest) {
                using callable_type = std::decay_t<Function>;
                if constexpr (std::is_invocable_v<callable_type, std::stop_token, std::decay_t<Args>...>)
                    std::invoke(std::move(callable), this_fiber::get_stop_token(), std::move(rest)...);
                else
                    std::invoke(std::move(callable), std::move(rest)...);
            },
            std::move(bound));
    };
}

template <class Function, class... Args> fiber::fiber(const fiber_options& options, Function&& function, Args&&... args)
{
    auto callable = bind_fiber(std::forward<Function>(function), std::forward<Args>(args)...);
    state_ = start_fiber(options, fiber_entry::of<decltype(callable)>(), &callable);
}

} // namespace coir

template <> struct std::hash<coir::fiber_id> {
    std::size_t operator()(coir::fiber_id id) const noexcept { return std::hash<std::uint64_t>{}(id.value); }
};
