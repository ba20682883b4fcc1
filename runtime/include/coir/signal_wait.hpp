// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

namespace coir {

/// The waits of a fiber that stands for a thread of the program, as a handler of a signal finds them. Copies stand for
/// the same fiber, which must outlive their use.
class signal_wait {
public:
    /// Of no fiber.
    signal_wait() noexcept = default;
    static signal_wait of_this_fiber() noexcept { return signal_wait{current_fiber}; }

    /// In a handler that ends: which wait it ends, with or without SA_RESTART; 0 for none. Async-signal-safe. None on
    /// other threads than that of the fiber's hub.
    std::uint64_t ended_by_handler(bool restarts) const noexcept;
    /// Ends that wait, if the fiber is still in it, as `handled`. On the hub's thread, and not in a handler.
    void end(std::uint64_t wait) const noexcept;
    /// As `fiber::cancel`, until `forget_cancel`: for pthread_cancel, which ends some of a thread's waits. On the hub's
    /// thread.
    void cancel() const noexcept;
    void forget_cancel() const noexcept;

    friend bool operator==(const signal_wait&, const signal_wait&) = default;
    /// The caller is on the fiber's hub's thread.
    bool is_here() const noexcept;

private:
    explicit signal_wait(fiber_state* fiber) noexcept : fiber_{fiber} {}
    fiber_state* fiber_ = nullptr;
};

} // namespace coir
