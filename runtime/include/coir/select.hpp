// SPDX-License-Identifier: BSL-1.0
#pragma once
// Wait for the first of several things, and do exactly that one:
//
//     coir::select(coir::on_receive(jobs, [&](std::optional<job> next) { ... }),
//                  coir::on_send(results, result, [&] { ... }),
//                  coir::on_set(shut_down, [&] { ... }),
//                  coir::on_timeout(1s, [&] { ... }));
//
// If several can be done at once, one of them is chosen at random. `otherwise` as the last case makes select not wait.
#include <coir/select_cases.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <functional>
#include <iterator>
#include <ranges>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace coir {

// ---- the cases with handlers, for the static form -------------------------------------------------------------------

/// Any case, with a function that is called with its result when it was chosen. No lock is held then.
template <class Case, class Handler> class handled final : public Case {
public:
    template <class From, class... Args>
    explicit handled(From&& handler, Args&&... args)
        : Case(std::forward<Args>(args)...), handler_(std::forward<From>(handler))
    {
    }

private:
    void finish() override
    {
        Case::finish();
        if constexpr (std::is_void_v<decltype(this->result())>)
            std::invoke(handler_);
        else
            std::invoke(handler_, this->result());
    }
    Handler handler_;
};

template <class Case, class Handler, class... Args> [[nodiscard]] auto with_handler(Handler&& handler, Args&&... args)
{
    return handled<Case, std::decay_t<Handler>>(std::forward<Handler>(handler), std::forward<Args>(args)...);
}

/// The handler takes a std::optional<T>: nothing if the channel is closed and drained.
template <class T, class Buffer, class Handler> auto on_receive(basic_channel<T, Buffer>& from, Handler&& handler)
{
    return with_handler<receive_case<T, Buffer>>(std::forward<Handler>(handler), from);
}
/// Moves from the value only if it was sent. Belongs inside the call of `select`, because it refers to the value.
template <class T, class Buffer, class Handler>
auto on_send(basic_channel<T, Buffer>& to, std::type_identity_t<T>&& value, Handler&& handler)
{
    return with_handler<send_case<T, Buffer>>(std::forward<Handler>(handler), to, value);
}
template <class T, class Buffer, class Handler>
auto on_send(basic_channel<T, Buffer>& to, const std::type_identity_t<T>& value, Handler&& handler)
{
    return with_handler<send_copy_case<T, Buffer>>(std::forward<Handler>(handler), to, value);
}
template <class Handler> auto on_set(event& awaited, Handler&& handler)
{
    return with_handler<event_case>(std::forward<Handler>(handler), awaited);
}
template <class Handler> auto on_set(auto_reset_event& awaited, Handler&& handler)
{
    return with_handler<auto_reset_event_case>(std::forward<Handler>(handler), awaited);
}
template <class Handler> auto on_acquire(semaphore_base& from, Handler&& handler)
{
    return with_handler<acquire_case>(std::forward<Handler>(handler), from);
}
template <class T, class Handler> auto on_ready(const basic_future<T>& awaited, Handler&& handler)
{
    return with_handler<ready_case>(std::forward<Handler>(handler), awaited);
}
template <class Handler> auto on_end(const fiber& awaited, Handler&& handler)
{
    return with_handler<ended_case>(std::forward<Handler>(handler), awaited);
}
template <class Rep, class Period, class Handler>
auto on_timeout(const std::chrono::duration<Rep, Period>& limit, Handler&& handler)
{
    return with_handler<timer_case>(std::forward<Handler>(handler), deadline_after(limit));
}
template <class Clock, class Duration, class Handler>
auto on_time(const std::chrono::time_point<Clock, Duration>& instant, Handler&& handler)
{
    return with_handler<timer_case>(std::forward<Handler>(handler), deadline_at(instant));
}

/// As the last case: what to do if no other can be done now.
template <class Handler> struct otherwise {
    Handler handler;
};
template <class Handler> otherwise(Handler) -> otherwise<Handler>;

// ---- what can be selected from --------------------------------------------------------------------------------------

template <class Case>
concept selectable = std::derived_from<std::remove_cvref_t<Case>, select_case>;

template <class T> inline constexpr bool is_otherwise = false;
template <class Handler> inline constexpr bool is_otherwise<otherwise<Handler>> = true;
/// The last of the types is an `otherwise`, and the others are cases.
template <class... Cases>
inline constexpr bool ends_with_otherwise =
    is_otherwise<std::remove_cvref_t<std::tuple_element_t<sizeof...(Cases) - 1, std::tuple<Cases...>>>> &&
    (selectable<Cases> + ... + 0U) + 1 == sizeof...(Cases);

inline select_case& case_of(select_case& which) noexcept
{
    return which;
}
template <class Pointer>
    requires(!selectable<Pointer>)
auto case_of(Pointer& which) noexcept -> decltype(case_of(*which))
{
    return *which;
}

template <class Range>
concept selectable_range =
    std::ranges::forward_range<Range> && requires(std::ranges::range_reference_t<Range> each) { case_of(each); };

/// The cases of a range as the core of select wants them.
class case_pointers {
public:
    template <class Range> explicit case_pointers(Range& range)
    {
        size_ = static_cast<std::size_t>(std::ranges::distance(range));
        if (2 * size_ > few_.size())
            many_.resize(2 * size_);
        std::ranges::transform(range, begin(), [](auto&& each) { return &case_of(each); });
    }
    bool empty() const noexcept { return size_ == 0; }
    std::span<select_case* const> cases() noexcept { return {begin(), size_}; }
    std::span<select_case*> scratch() noexcept { return {begin() + size_, size_}; }

    template <class Range> static std::ranges::iterator_t<Range> iterator_to(Range& range, std::size_t index)
    {
        if (index == no_case)
            return std::ranges::next(std::ranges::begin(range), std::ranges::end(range));
        return std::ranges::next(std::ranges::begin(range), static_cast<std::ranges::range_difference_t<Range>>(index));
    }

private:
    select_case** begin() noexcept { return many_.empty() ? few_.data() : many_.data(); }

    std::size_t size_;
    std::array<select_case*, 32> few_;
    std::vector<select_case*> many_;
};

// ---- select ---------------------------------------------------------------------------------------------------------

/// Suspends until one of the cases has been done, calls its handler, and returns its place among the cases. Throws
/// `cancelled` and `timed_out` if it has to wait, and then nothing has been done; `channel_closed` if a send was chosen
/// and the channel is closed; and what the handler throws. Allocates nothing. From fibers and plain threads.
template <class... Cases>
    requires(selectable<Cases> && ...)
std::size_t select(Cases&&... cases)
{
    constexpr std::size_t count = sizeof...(Cases);
    std::array<select_case*, count> all{&cases...};
    std::array<select_case*, count> scratch;
    return select_among(all, scratch);
}

/// The same, but `otherwise` is called, and its place returned, if no case can be done now. Never suspends.
template <class... Cases>
    requires(sizeof...(Cases) > 1 && ends_with_otherwise<Cases...>)
std::size_t select(Cases&&... cases)
{
    constexpr std::size_t count = sizeof...(Cases) - 1;
    const auto each = std::forward_as_tuple(cases...);
    auto all = [&]<std::size_t... Index>(std::index_sequence<Index...>) {
        return std::array<select_case*, count>{&std::get<Index>(each)...};
    }(std::make_index_sequence<count>{});
    std::array<select_case*, count> scratch;
    const auto chosen = select_now(all, scratch);
    if (chosen != no_case)
        return chosen;
    std::invoke(std::get<count>(each).handler);
    return count;
}

/// Over a range of cases, or of pointers to cases: returns an iterator to the one that has been done. A range may be
/// selected from again; up to 16 cases it allocates nothing. The end if the range is empty.
template <selectable_range Range> std::ranges::iterator_t<Range> select(Range& cases)
{
    case_pointers all{cases};
    return all.iterator_to(cases, all.empty() ? no_case : select_among(all.cases(), all.scratch()));
}
/// The end if the time ran out first.
template <class Clock, class Duration, selectable_range Range>
std::ranges::iterator_t<Range> select_until(const std::chrono::time_point<Clock, Duration>& instant, Range& cases)
{
    case_pointers all{cases};
    return all.iterator_to(cases, select_among(all.cases(), all.scratch(), deadline_at(instant)));
}
template <class Rep, class Period, selectable_range Range>
std::ranges::iterator_t<Range> select_for(const std::chrono::duration<Rep, Period>& limit, Range& cases)
{
    return select_until(deadline_after(limit), cases);
}
/// The end if no case can be done now. Never suspends.
template <selectable_range Range> std::ranges::iterator_t<Range> try_select(Range& cases)
{
    case_pointers all{cases};
    return all.iterator_to(cases, select_now(all.cases(), all.scratch()));
}

} // namespace coir
