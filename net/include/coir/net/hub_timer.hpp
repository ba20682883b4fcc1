// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <chrono>
#include <functional>
#include <memory>

namespace coir::net {

class reactor_timer;

/// Calls a function on the loop of the hub that it was made on, some time after it was asked to: for upkeep that needs
/// no fiber. Destroyed, it calls no more. On its hub only. The constructor throws std::logic_error where the hub has no
/// I/O, and std::system_error where there is no descriptor for it.
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
    std::shared_ptr<reactor_timer> timer_;
};

} // namespace coir::net
