// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

#include <atomic>
#include <functional>
#include <utility>

namespace coir {

/// Whether a thing has been done that is done once. See call_once.
class once_flag {
public:
    constexpr once_flag() noexcept = default;
    once_flag(const once_flag&) = delete;
    once_flag& operator=(const once_flag&) = delete;

private:
    template <class Callable, class... Args>
    friend void call_once(once_flag& flag, Callable&& function, Args&&... args);

    /// What a call does with its turn: gives it on unless it has been used.
    class turn {
    public:
        explicit turn(once_flag& flag) noexcept : flag_{flag} {}
        turn(const turn&) = delete;
        turn& operator=(const turn&) = delete;
        ~turn() { done ? flag_.finish() : flag_.pass_on(); }
        bool done = false;

    private:
        once_flag& flag_;
    };

    bool is_done() const noexcept { return done_.load(std::memory_order_acquire); }
    /// Suspends while another call is at it. False once it is done; true if the caller is to do it.
    bool begin();
    void finish() noexcept;
    void pass_on() noexcept;

    spin_lock guard_;
    std::atomic<bool> done_{false};
    const void* runner_ = nullptr; ///< whose turn it is
    wait_queue waiters_;
};

/// std::call_once: of all calls with the same flag one runs `function`, and all return after that.
///
/// Suspends while another call runs it; the function may suspend too. If it throws (`cancelled` too), the exception
/// goes to its caller, and who has waited longest tries next. Throws `cancelled` or `timed_out` if it has to wait, and
/// std::system_error (resource_deadlock_would_occur) when the function calls again with the same flag.
///
///     coir::once_flag loaded;
///     coir::call_once(loaded, [&] { table = load_table(); });
template <class Callable, class... Args> void call_once(once_flag& flag, Callable&& function, Args&&... args)
{
    if (flag.is_done() || !flag.begin())
        return;
    once_flag::turn mine{flag};
    std::invoke(std::forward<Callable>(function), std::forward<Args>(args)...);
    mine.done = true;
}

} // namespace coir
