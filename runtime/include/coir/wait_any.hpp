// SPDX-License-Identifier: BSL-1.0
#pragma once
// Wait until one, or all, of several futures and fibers are done:
//
//     auto winner = coir::wait_any(primary, replica);              // 0 or 1
//     std::vector<coir::fiber> workers = ...;
//     auto first = coir::wait_any(workers);                        // an iterator
//     if (!coir::wait_all_for(1s, workers)) ...
//
// These wait and do nothing else: a future is to be asked and a fiber to be joined afterwards. The function of a
// deferred `async` counts as done, because its `get` waits for nobody else.
#include <coir/select.hpp>

#include <concepts>
#include <optional>
#include <ranges>
#include <tuple>
#include <vector>

namespace coir {

/// The select_case that waits for something to be done. Overload it, for a type of yours, in that type's namespace.
template <class T> ready_case completion_of(const basic_future<T>& awaited)
{
    return ready_case{awaited};
}
inline ended_case completion_of(const fiber& awaited)
{
    return ended_case{awaited};
}

template <class T>
concept completable = requires(const T& awaited) {
    {
        completion_of(awaited)
    } -> std::derived_from<select_case>;
};
template <class Range>
concept completable_range = std::ranges::forward_range<Range> && completable<std::ranges::range_value_t<Range>>;

template <completable... Awaited>
std::optional<std::size_t> wait_any_before(clock::time_point deadline, const Awaited&... awaited)
{
    std::tuple cases{completion_of(awaited)...};
    auto all = std::apply([](auto&... each) { return std::array<select_case*, sizeof...(Awaited)>{&each...}; }, cases);
    std::array<select_case*, sizeof...(Awaited)> scratch;
    const auto chosen = select_among(all, scratch, deadline);
    return chosen == no_case ? std::nullopt : std::optional{chosen};
}

/// Suspends until one is done, and returns its place among the arguments. If several are, one of them. Throws
/// `cancelled`, `timed_out`; future_error (no_state), std::system_error (a fiber that is not joinable).
template <completable... Awaited>
    requires(sizeof...(Awaited) > 0)
std::size_t wait_any(const Awaited&... awaited)
{
    return *wait_any_before(never, awaited...);
}
/// Nothing if the time ran out first.
template <class Rep, class Period, completable... Awaited>
std::optional<std::size_t> wait_any_for(const std::chrono::duration<Rep, Period>& limit, const Awaited&... awaited)
{
    return wait_any_before(deadline_after(limit), awaited...);
}
template <class Clock, class Duration, completable... Awaited>
std::optional<std::size_t> wait_any_until(const std::chrono::time_point<Clock, Duration>& instant,
                                          const Awaited&... awaited)
{
    return wait_any_before(deadline_at(instant), awaited...);
}

/// The same over a range: returns an iterator, the end if the time ran out or the range is empty. Allocates.
template <completable_range Range>
std::ranges::iterator_t<Range> wait_any_before(clock::time_point deadline, Range& awaited)
{
    std::vector<decltype(completion_of(*std::ranges::begin(awaited)))> cases;
    cases.reserve(static_cast<std::size_t>(std::ranges::distance(awaited)));
    for (const auto& each : awaited)
        cases.push_back(completion_of(each));
    const auto chosen = cases.empty() ? cases.end() : select_until(deadline, cases);
    return std::ranges::next(std::ranges::begin(awaited), chosen - cases.begin(), std::ranges::end(awaited));
}
template <completable_range Range> std::ranges::iterator_t<Range> wait_any(Range& awaited)
{
    return wait_any_before(never, awaited);
}
template <class Rep, class Period, completable_range Range>
std::ranges::iterator_t<Range> wait_any_for(const std::chrono::duration<Rep, Period>& limit, Range& awaited)
{
    return wait_any_before(deadline_after(limit), awaited);
}
template <class Clock, class Duration, completable_range Range>
std::ranges::iterator_t<Range> wait_any_until(const std::chrono::time_point<Clock, Duration>& instant, Range& awaited)
{
    return wait_any_before(deadline_at(instant), awaited);
}

template <completable... Awaited> bool wait_all_before(clock::time_point deadline, const Awaited&... awaited)
{
    return (wait_any_before(deadline, awaited).has_value() && ...);
}
template <completable_range Range> bool wait_all_before(clock::time_point deadline, const Range& awaited)
{
    return std::ranges::all_of(awaited, [=](const auto& each) { return wait_any_before(deadline, each).has_value(); });
}

/// Suspends until all are done. Throws as `wait_any`.
template <completable... Awaited> void wait_all(const Awaited&... awaited)
{
    wait_all_before(never, awaited...);
}
template <completable_range Range> void wait_all(const Range& awaited)
{
    wait_all_before(never, awaited);
}
/// False if the time ran out first.
template <class Rep, class Period, class... Awaited>
bool wait_all_for(const std::chrono::duration<Rep, Period>& limit, const Awaited&... awaited)
{
    return wait_all_before(deadline_after(limit), awaited...);
}
template <class Clock, class Duration, class... Awaited>
bool wait_all_until(const std::chrono::time_point<Clock, Duration>& instant, const Awaited&... awaited)
{
    return wait_all_before(deadline_at(instant), awaited...);
}

} // namespace coir
