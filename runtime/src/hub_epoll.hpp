// SPDX-License-Identifier: BSL-1.0
#pragma once
// The epoll instance of a hub. The hub blocks in it, or in something that watches it; others end that by `ring`; and
// the layer above puts its descriptors into it, see event_source.hpp.
//
// A deadline costs no system call of its own where the kernel can take it as a time-out in nanoseconds, and it is near:
// a time-out is set up and taken down each time, and the kernel may be late by the thread's timer slack, and by a part
// of long ones. Far deadlines, which seldom pass, are for a timerfd that stays armed.
#include <coir/clock.hpp>
#include <coir/event_source.hpp>

#include <ctime>

namespace coir {

class hub_epoll {
public:
    /// Throws std::system_error.
    hub_epoll();
    hub_epoll(const hub_epoll&) = delete;
    hub_epoll& operator=(const hub_epoll&) = delete;
    ~hub_epoll();

    int descriptor() const noexcept { return epoll_; }
    void set_source(event_source& source) noexcept { source_ = &source; }

    /// Takes what has happened, without blocking. Returns whether anything had.
    bool take_events() noexcept { return take(&no_time); }
    /// Blocks until something happens or until `deadline`, and not much longer; perhaps not so long.
    void wait(clock::time_point deadline) noexcept;
    /// For who blocks elsewhere: something happens at `deadline`, and perhaps sooner.
    void arm(clock::time_point deadline) noexcept;
    /// Something happens. Any thread, and handlers of signals.
    void ring() const noexcept;

    /// In a forked child, which shares the parent's. The descriptors are others afterwards, and nothing is in it.
    void start_over() noexcept;

private:
    static constexpr timespec no_time{};

    void open();
    void close() noexcept;
    bool take(const timespec* limit) noexcept;
    int wait_for(epoll_event* events, int room, const timespec* limit) noexcept;

    event_source* source_ = nullptr;
    int epoll_ = -1;
    int bell_ = -1;  ///< an eventfd, watched for edges and never read: each write is one
    int timer_ = -1; ///< a timerfd, in the same way
    clock::time_point armed_for_ = never;
};

} // namespace coir
