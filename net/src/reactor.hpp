// SPDX-License-Identifier: BSL-1.0
#pragma once
// Readiness becomes wake-ups. Each hub has one epoll instance, in which it blocks, and no application descriptor is
// ever given to Asio, which would set O_NONBLOCK on it and pay an epoll_ctl for every wait.
//
// A descriptor is registered once, edge-triggered, for everything, until it is closed. Fibers try first and wait only
// after EAGAIN; edges are taken on the hub's own stack, when no fiber of the hub runs. So no edge can come between the
// EAGAIN and the wait unnoticed, and none has to be remembered.
#include "fd_table.hpp"

#include <coir/event_source.hpp>
#include <coir/hub_local.hpp>

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace coir::net {

class reactor_timer;

class reactor final : public hub_object, public event_source {
public:
    /// Throws std::logic_error where the hub has no I/O.
    reactor();
    ~reactor() override;

    /// The calling hub's.
    static reactor& of_this_hub();
    /// Whether it is that; it must not belong to another process.
    bool is_here() const noexcept { return hub_ == current_scheduler; }

    /// Registers the descriptor, if no reactor watches it. The caller holds the entry's lock. Returns 0 or an errno
    /// value.
    int watch(int descriptor, fd_entry& entry) noexcept;
    /// The caller holds the entry's lock, and the entry's watcher is this.
    void forget(int descriptor, fd_entry& entry) noexcept;

    /// Tells it of its events, as long as it lives. Throws std::system_error.
    void add(const std::shared_ptr<reactor_timer>& timer);

    /// Whether the caller is in the process that made it, and not in a child between vfork and exec, which shares this
    /// memory and closes descriptors of its own.
    bool belongs_to_this_process() const noexcept;

    /// In a forked child, whose only hub this one is.
    void start_over_in_child() noexcept;

private:
    void listen_for_news() noexcept;
    bool watch_timer(std::size_t place, int descriptor) noexcept;
    void take_events(std::span<const epoll_event> events) noexcept override;

    int epoll_ = set_event_source(*this); ///< the hub's
    pid_t process_;
    const scheduler* hub_ = current_scheduler;
    std::vector<std::weak_ptr<reactor_timer>> timers_;
};

} // namespace coir::net
