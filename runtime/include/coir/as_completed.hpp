// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/channel.hpp>
#include <coir/map.hpp>
#include <coir/outcome.hpp>

#include <cstddef>
#include <deque>
#include <iterator>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <utility>
#include <vector>

namespace coir {

/// The range that `as_completed` returns. Stays where it is; to be gone through once, by the fiber that made it.
template <std::ranges::view View, class Function> class completions {
    using element_of = map_element<View>;

public:
    using value_type = std::remove_cvref_t<typename element_of::template result<Function>>;
    static_assert(!std::is_void_v<value_type>, "there is nothing to wait for: use coir::for_each");

    completions(View range, Function function, const map_options& options)
        : range_{std::move(range)},
          function_{std::move(function)},
          fibers_{options.fibers},
          room_{static_cast<std::ptrdiff_t>(options.concurrency)},
          arrivals_{options.concurrency + 1}
    {
        if (options.concurrency == 0)
            throw std::invalid_argument{"coir::as_completed: there must be room for one call at least"};
    }
    completions(const completions&) = delete;
    completions& operator=(const completions&) = delete;
    /// Cancels the calls that have not ended, and suspends until they have.
    ~completions() { calls_.cancel(); }

    class iterator {
    public:
        using value_type = typename completions::value_type;
        using difference_type = std::ptrdiff_t;
        iterator(iterator&&) noexcept = default;
        iterator& operator=(iterator&&) noexcept = default;

        value_type& operator*() const noexcept { return *from_->current_; }
        value_type* operator->() const noexcept { return &*from_->current_; }
        /// Suspends until another call has returned. Throws what it threw; all others have ended then.
        iterator& operator++()
        {
            from_->advance();
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return !from_->current_; }

    private:
        friend class completions;
        explicit iterator(completions& from) noexcept : from_{&from} {}
        completions* from_;
    };

    /// Starts the first calls, and suspends until one of them has returned.
    iterator begin()
    {
        if (!std::exchange(begun_, true)) {
            calls_.spawn({.name = "as_completed"}, [this] {
                fed_.run([this] { start_calls(); });
                arrivals_.try_send(arrival{nullptr});
            });
            advance();
        }
        return iterator{*this};
    }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    using place = outcome<value_type>;
    using arrival = place*; ///< null: no more calls will be started

    /// In a fiber of its own on this hub, so that results are looked at while the range makes us wait.
    void start_calls()
    {
        for (auto&& element : range_) {
            room_.acquire();
            if (free_.empty())
                free_.push_back(&places_.emplace_back());
            place* const mine = free_.back();
            free_.pop_back();
            ++started_;
            calls_.spawn(fibers_, element_of::bind(std::forward<decltype(element)>(element), function_,
                                                   [this, mine](auto&& call) {
                                                       mine->run(call);
                                                       arrivals_.try_send(arrival{mine}); // it has room for all
                                                   }));
        }
    }

    void advance()
    {
        current_.reset();
        try {
            while (!all_started_ || taken_ != started_) {
                const arrival next = *arrivals_.receive(); // NOLINT(bugprone-unchecked-optional-access): never closed
                if (!next) {
                    all_started_ = true;
                    fed_.take();
                    continue;
                }
                ++taken_;
                current_.emplace(next->take());
                *next = place{};
                free_.push_back(next);
                room_.release();
                return;
            }
        } catch (...) {
            calls_.cancel();
            const shield until_all_have_ended;
            calls_.join();
            throw;
        }
    }

    View range_;
    Function function_;
    fiber_options fibers_;
    bool begun_ = false;
    bool all_started_ = false;
    std::size_t started_ = 0;
    std::size_t taken_ = 0;
    std::deque<place> places_; ///< as many as there have been calls at a time
    std::vector<place*> free_;
    std::optional<value_type> current_;
    outcome<void> fed_;
    counting_semaphore<> room_; ///< taken by a call until its result is looked at
    channel<arrival> arrivals_;
    fiber_group calls_; ///< the last member: its destructor waits for those who use the others
};

/// As `map`, but a range of the results in the order in which the calls return. Nothing is called before `begin`.
///
/// There are never more calls that run, or have returned and wait to be looked at, than the options say: who goes
/// through the results slowly slows the calls down. A failure comes out where the next result is wanted, and the other
/// calls are cancelled; they also are when the results are left early. Nothing outlives them. `range` is gone through
/// by a fiber of this hub.
///
///     for (auto& page : coir::as_completed(urls, fetch))
///         show(page);
template <std::ranges::input_range Range, class Function>
auto as_completed(Range&& range, Function&& function, const map_options& options = {})
{
    return completions<std::views::all_t<Range>, std::decay_t<Function>>{std::views::all(std::forward<Range>(range)),
                                                                         std::forward<Function>(function), options};
}

} // namespace coir
