// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/cancellation.hpp>
#include <coir/clock.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <system_error>
#include <utility>

namespace coir {

/// One level of the nest of timeouts, shields and cancel_scopes that a fiber is in; their base. On a plain thread
/// scopes do nothing.
///
/// A wait asks the nest when it begins, from the inside out and up to the first shield. There are few levels, and none
/// remembers anything of the others: so a deadline can be changed, and a coroutine can take its scopes to another nest.
class wait_scope {
public:
    wait_scope(const wait_scope&) = delete;
    wait_scope& operator=(const wait_scope&) = delete;

protected:
    enum class kind : std::uint8_t { timeout, shield, cancel_scope };
    explicit wait_scope(clock::time_point at, kind what = kind::timeout) noexcept : at_{at}, kind_{what} {}
    ~wait_scope() = default;
    /// Becomes the caller's innermost, and ceases to be it.
    void enter() noexcept;
    void leave() noexcept;

    clock::time_point at_;               ///< this scope's own deadline
    std::atomic<bool> cancelled_{false}; ///< what is inside shall end; set by any thread
    kind kind_;
    wait_scope* outer_ = nullptr;

    friend class fiber_state;
    friend class coroutine_state;
};

/// A deadline for every wait of the calling fiber while the object lives. Deadlines nest; the earliest counts.
///
/// A wait that the deadline cuts off throws `timed_out`; one in an unmodified C library fails with ETIMEDOUT.
/// Belongs on the stack of a fiber.
///
///     coir::timeout limit{200ms};
///     PGresult* rows = PQexec(connection, "select pg_sleep(1)");   // fails after 200 ms
///     if (limit.expired()) ...
class [[nodiscard]] timeout : public wait_scope {
public:
    template <class Rep, class Period>
    explicit timeout(const std::chrono::duration<Rep, Period>& limit) : wait_scope{deadline_after(limit)}
    {
        enter();
    }
    template <class Clock, class Duration>
    explicit timeout(const std::chrono::time_point<Clock, Duration>& deadline) : wait_scope{deadline_at(deadline)}
    {
        enter();
    }
    ~timeout() { leave(); }

    /// Another deadline, for the waits that begin from now on; or none. Only the fiber whose timeout it is.
    template <class Rep, class Period> void reset(const std::chrono::duration<Rep, Period>& limit)
    {
        at_ = deadline_after(limit);
    }
    template <class Clock, class Duration> void reset(const std::chrono::time_point<Clock, Duration>& deadline)
    {
        at_ = deadline_at(deadline);
    }
    void clear() noexcept { at_ = never; }

    /// Whether the deadline of this scope has passed. Never suspends.
    bool expired() const noexcept { return clock::now() >= at_; }
    clock::time_point deadline() const noexcept { return at_; }
};

/// While it lives, waits of the calling fiber are not cancelled and no timeout outside of it applies. For clean-up
/// that has to wait, such as saying goodbye to a peer; put a `timeout` inside so that it ends.
class [[nodiscard]] shield : public wait_scope {
public:
    shield() noexcept : wait_scope{never, kind::shield} { enter(); }
    ~shield() { leave(); }
};

/// Calls `function` under a timeout. Suspends as `function` does.
/// Throws std::system_error(errc::timed_out) when that timeout, and not an outer one, cut it off.
template <class Rep, class Period, class Function>
decltype(auto) with_timeout(const std::chrono::duration<Rep, Period>& limit, Function&& function)
{
    timeout scope{limit};
    try {
        return std::invoke(std::forward<Function>(function));
    } catch (const timed_out&) {
        if (!scope.expired())
            throw;
        throw std::system_error(std::make_error_code(std::errc::timed_out), "coir::with_timeout");
    }
}

} // namespace coir
