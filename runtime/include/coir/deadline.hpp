// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/cancellation.hpp>
#include <coir/clock.hpp>

#include <functional>
#include <system_error>
#include <utility>

namespace coir {

class fiber_state;

/// One level of the fiber's nest of timeouts and shields. The base of `timeout` and `shield`.
class wait_scope {
public:
    wait_scope(const wait_scope&) = delete;
    wait_scope& operator=(const wait_scope&) = delete;

protected:
    enum class kind { timeout, shield };
    wait_scope(kind what, clock::time_point at) noexcept;
    ~wait_scope();

    clock::time_point at_;        ///< this scope's own deadline
    clock::time_point effective_; ///< the earliest that applies inside
    bool shielded_;               ///< cancellation from outside does not reach in
    fiber_state* fiber_;          ///< whose; null on a plain thread, where scopes do nothing
    wait_scope* outer_ = nullptr;

    friend class fiber_state;
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
    explicit timeout(const std::chrono::duration<Rep, Period>& limit) : wait_scope{kind::timeout, deadline_after(limit)}
    {
    }
    template <class Clock, class Duration>
    explicit timeout(const std::chrono::time_point<Clock, Duration>& deadline)
        : wait_scope{kind::timeout, deadline_at(deadline)}
    {
    }

    /// Whether the deadline of this scope has passed. Never suspends.
    bool expired() const noexcept { return clock::now() >= at_; }
    clock::time_point deadline() const noexcept { return at_; }
};

/// While it lives, waits of the calling fiber are not cancelled and no timeout outside of it applies. For clean-up
/// that has to wait, such as saying goodbye to a peer; put a `timeout` inside so that it ends.
class [[nodiscard]] shield : public wait_scope {
public:
    shield() noexcept : wait_scope{kind::shield, never} {}
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
