// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace coir {

/// Events that a layer above takes from the kernel itself, on the hub's own stack, such as those of an epoll instance.
/// One for each hub; for writers of reactors.
///
/// The hub asks for them on every turn of its loop, and before it blocks in its io_context. What happens later must end
/// that blocking: a descriptor that tells of new events belongs to an Asio object on this_hub_io_context(), which needs
/// no operation on it.
class event_source {
public:
    event_source() = default;
    event_source(const event_source&) = delete;
    event_source& operator=(const event_source&) = delete;

    /// Takes all that has happened, without blocking, and wakes who waits for it. Returns whether there was anything.
    virtual bool take_events() noexcept = 0;

protected:
    ~event_source() = default;
};

/// From now on the calling hub asks `source`, which must live as long as the hub. Throws std::logic_error where the
/// hub has no io_context.
void set_event_source(event_source& source);

} // namespace coir
