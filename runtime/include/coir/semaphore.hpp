// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

#include <cstddef>
#include <limits>

namespace coir {

/// What every counting_semaphore is, whatever its maximum.
class semaphore_base {
public:
    semaphore_base(const semaphore_base&) = delete;
    semaphore_base& operator=(const semaphore_base&) = delete;

    /// Never suspends. Any thread.
    void release(std::ptrdiff_t count = 1);
    bool try_acquire() noexcept;

    /// Suspends while the count is 0. Throws `cancelled`, `timed_out`. Fair.
    void acquire() { acquire_before(never); }
    template <class Rep, class Period> bool try_acquire_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return acquire_before(deadline_after(limit));
    }
    template <class Clock, class Duration>
    bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& instant)
    {
        return acquire_before(deadline_at(instant));
    }

protected:
    explicit constexpr semaphore_base(std::ptrdiff_t count) noexcept : count_{count} {}

private:
    friend class acquire_case; // select_cases.hpp
    bool acquire_before(clock::time_point deadline);

    spin_lock guard_;
    std::ptrdiff_t count_;
    wait_queue waiters_;
};

/// std::counting_semaphore for fibers, hubs and plain threads.
///
///     coir::counting_semaphore<> connections{100};
///     connections.acquire();
template <std::ptrdiff_t LeastMaxValue = std::numeric_limits<std::ptrdiff_t>::max()>
class counting_semaphore : public semaphore_base {
public:
    explicit constexpr counting_semaphore(std::ptrdiff_t count) noexcept : semaphore_base{count} {}
    static constexpr std::ptrdiff_t max() noexcept { return LeastMaxValue; }
};

using binary_semaphore = counting_semaphore<1>;

} // namespace coir
