// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber_pool.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace coir {

struct map_options {
    std::size_t concurrency = 64; ///< calls at a time, at most
    fiber_options fibers{};       ///< of the fibers that make them
};

/// How a call gets its element. The elements of a range that can be gone through twice, and that refers to them, stay
/// where they are; others are moved or copied to the fiber that needs them.
template <class Range> struct map_element {
    static constexpr bool stays =
        std::ranges::forward_range<Range> && std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>>;
    using type = std::conditional_t<stays, std::ranges::range_reference_t<Range>, std::ranges::range_value_t<Range>>;

    template <class Function> using result = std::invoke_result_t<Function&, type&&>;

    /// Calls `use` with a callable of no arguments for `element`, which calls `function` and hands the result to
    /// `keep`.
    template <class Element, class Function> static auto bind(Element&& element, Function& function, auto keep)
    {
        struct holder {
            type value;
        };
        return [kept = holder{static_cast<type>(std::forward<Element>(element))}, &function, keep]() mutable {
            keep([&]() -> decltype(auto) { return std::invoke(function, static_cast<type&&>(kept.value)); });
        };
    }
};

/// Calls `function` for each element, several at a time, each call in a fiber of its own. Suspends until all have
/// ended.
///
/// The first failure cancels the other calls, and is rethrown when they have ended; so does an exception from the
/// range. If the caller is cancelled, the calls are too. The range is gone through by the caller, as far as there is
/// room for another call and one element beyond: it may be endless, suspend, and be a generator.
///
///     coir::for_each(urls, [](const std::string& url) { fetch(url); }, {.concurrency = 10});
template <std::ranges::input_range Range, class Function>
void for_each(Range&& range, Function&& function, const map_options& options = {})
{
    using element_of = map_element<Range>;
    fiber_pool calls{options.concurrency};
    for (auto&& element : range)
        if (!calls.spawn(options.fibers, element_of::bind(std::forward<decltype(element)>(element), function,
                                                          [](auto&& call) { static_cast<void>(call()); })))
            break;
    calls.join();
}

/// As `for_each`, and returns what the calls returned, in the order of the range. References are copied. A function
/// that throws `cancelled` itself leaves a gap: std::future_error (broken_promise).
///
///     std::vector<page> pages = coir::map(urls, fetch, {.concurrency = 10});
template <std::ranges::input_range Range, class Function>
auto map(Range&& range, Function&& function, const map_options& options = {})
{
    using element_of = map_element<Range>;
    using result = std::remove_cvref_t<typename element_of::template result<Function>>;
    static_assert(!std::is_void_v<result>, "there is nothing to collect: use coir::for_each");

    std::deque<std::optional<result>> results; // whose elements stay where they are while it grows
    {
        fiber_pool calls{options.concurrency};
        for (auto&& element : range) {
            auto* const place = &results.emplace_back();
            if (!calls.spawn(options.fibers, element_of::bind(std::forward<decltype(element)>(element), function,
                                                              [place](auto&& call) { place->emplace(call()); })))
                break;
        }
        calls.join();
    }
    std::vector<result> collected;
    collected.reserve(results.size());
    for (auto& each : results) {
        if (!each) // the function has thrown `cancelled` of its own accord, which is no failure
            throw std::future_error{std::future_errc::broken_promise};
        collected.push_back(std::move(*each));
    }
    return collected;
}

} // namespace coir
