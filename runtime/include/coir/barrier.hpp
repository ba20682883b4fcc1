// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/deadline.hpp>
#include <coir/wait_queue.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace coir {

/// What every barrier is, whatever it calls when a phase is complete.
class barrier_base {
public:
    /// Says in which phase one has arrived. For `wait`, once.
    class arrival_token {
    public:
        arrival_token(arrival_token&&) noexcept = default;
        arrival_token& operator=(arrival_token&&) noexcept = default;

    private:
        friend class barrier_base;
        explicit arrival_token(std::uint64_t phase) noexcept : phase_{phase} {}
        std::uint64_t phase_;
    };

    barrier_base(const barrier_base&) = delete;
    barrier_base& operator=(const barrier_base&) = delete;

    static constexpr std::ptrdiff_t max() noexcept { return std::numeric_limits<std::ptrdiff_t>::max(); }

    /// Suspends until the phase of the token is complete. Throws `cancelled`, `timed_out` if it has to wait. Then the
    /// arrival stays counted, so the others go on without the caller, and the token is good for another wait.
    void wait(arrival_token&& arrival) const;

protected:
    explicit constexpr barrier_base(std::ptrdiff_t expected) noexcept : expected_{expected}, left_{expected} {}

    struct arrived {
        arrival_token token;
        bool last; ///< the caller now completes the phase, then calls `next_phase`
    };
    arrived arrive_some(std::ptrdiff_t update, std::ptrdiff_t dropped) noexcept;
    void next_phase() noexcept;

private:
    mutable spin_lock guard_;
    std::uint64_t phase_ = 0;
    std::ptrdiff_t expected_; ///< in the phases to come
    std::ptrdiff_t left_;     ///< of this phase: who has not arrived yet
    mutable wait_queue waiters_;
};

/// Nothing to do between two phases.
struct no_completion {
    void operator()() const noexcept {}
};

/// std::barrier for fibers, hubs and plain threads: in each phase everybody waits until all have arrived.
///
/// The last to arrive calls the completion function, behind a `shield`, before anyone goes on; so arriving suspends if
/// that does. Cancellation takes back nothing: who was cancelled while waiting has arrived in this phase, and is
/// expected in the next, which must not be before this one is complete. To leave for good: wait, then arrive_and_drop.
///
///     coir::barrier step{4, [&]() noexcept { std::swap(now, next); }};
///     for (int i = 0; i < 100; ++i) {
///         move_my_part(now, next);
///         step.arrive_and_wait();
///     }
template <class CompletionFunction = no_completion> class barrier : public barrier_base {
    static_assert(std::is_nothrow_invocable_v<CompletionFunction&>,
                  "[thread.barrier.class]/5: a completion function does not throw");

public:
    constexpr explicit barrier(std::ptrdiff_t expected, CompletionFunction completion = CompletionFunction())
        : barrier_base{expected}, completion_{std::move(completion)}
    {
    }

    /// Any thread. Terminates if it is more than what is left of the phase.
    [[nodiscard]] arrival_token arrive(std::ptrdiff_t update = 1) { return arrive_and(update, 0); }
    /// Suspends. Throws as `wait`.
    void arrive_and_wait() { wait(arrive()); }
    /// Arrives, and is not expected any more in the phases to come.
    void arrive_and_drop() { static_cast<void>(arrive_and(1, 1)); }

private:
    arrival_token arrive_and(std::ptrdiff_t update, std::ptrdiff_t dropped)
    {
        auto [token, last] = arrive_some(update, dropped);
        if (last) {
            {
                const shield undisturbed;
                completion_();
            }
            next_phase();
        }
        return std::move(token);
    }

    [[no_unique_address]] CompletionFunction completion_;
};

} // namespace coir
