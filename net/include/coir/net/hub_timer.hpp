// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <chrono>
#include <functional>
#include <memory>

namespace coir::net {

/// Calls a function on the loop of the hub that it was made on, some time after it was asked to: for upkeep that needs
/// no fiber. Destroyed, it calls no more. On its hub only; the constructor throws std::logic_error where the hub has no
/// io_context.
class hub_timer {
public:
    /// `call` must not throw, and cannot suspend.
    explicit hub_timer(std::function<void()> call);
    hub_timer(const hub_timer&) = delete;
    hub_timer& operator=(const hub_timer&) = delete;
    ~hub_timer();

    /// Nothing if it has been asked already and has not called since. Never suspends.
    void start(std::chrono::nanoseconds after);

private:
    struct shared_state;
    std::shared_ptr<shared_state> state_; ///< with a handler that may be left in a context that was lent
};

} // namespace coir::net
