// SPDX-License-Identifier: BSL-1.0
#pragma once
// What a hub_timer has in its hub's reactor: a timer descriptor, and whom to call. Not Asio's timer, for which the hub
// would have to block in Asio.
#include <chrono>
#include <functional>

namespace coir::net {

class reactor_timer {
public:
    /// Throws std::system_error.
    explicit reactor_timer(std::function<void()> call);
    reactor_timer(const reactor_timer&) = delete;
    reactor_timer& operator=(const reactor_timer&) = delete;
    ~reactor_timer();

    int descriptor() const noexcept { return descriptor_; }
    bool started() const noexcept { return after_.count() != 0; }
    void start(std::chrono::nanoseconds after) noexcept;
    /// Its descriptor has had an event.
    void expired();
    /// In a forked child, which shares the parent's timer: another one, which begins anew if it was started.
    void start_over_in_child() noexcept;

private:
    std::function<void()> call_;
    int descriptor_;
    std::chrono::nanoseconds after_{}; ///< 0 while it is not started
};

} // namespace coir::net
