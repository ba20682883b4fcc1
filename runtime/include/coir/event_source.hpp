// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <sys/epoll.h>

#include <cstdint>
#include <span>

namespace coir {

/// Who uses the hub's epoll instance, which the hub blocks in: it adds descriptors (epoll_ctl(2)), and is told of their
/// events on the hub's own stack. One for each hub; for writers of reactors.
class event_source {
public:
    event_source() = default;
    event_source(const event_source&) = delete;
    event_source& operator=(const event_source&) = delete;

    /// Events with `data.u64` from here on are the hub's own.
    static constexpr std::uint64_t reserved = ~std::uint64_t{0} - 15;

    /// What has happened. It wakes who waits for that, and does not block.
    virtual void take_events(std::span<const epoll_event> events) noexcept = 0;

protected:
    ~event_source() = default;
};

/// From now on the calling hub tells `source`, which must live as long as the hub. Returns the epoll instance's
/// descriptor, which is the hub's. A forked child has another one, with nothing in it, and must ask again. Throws
/// std::logic_error where the hub has no I/O.
int set_event_source(event_source& source);

} // namespace coir
