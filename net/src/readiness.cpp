// SPDX-License-Identifier: BSL-1.0
#include "arrival.hpp"
#include "fd_table.hpp"
#include "reactor.hpp"

#include <coir/fiber.hpp>
#include <coir/net/readiness.hpp>

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <memory>
#include <new>
#include <optional>
#include <system_error>

namespace coir::net {

// poll(2) and epoll(7) use the same bits for what is used here.
static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLPRI == POLLPRI && EPOLLRDHUP == POLLRDHUP &&
              EPOLLRDNORM == POLLRDNORM && EPOLLWRNORM == POLLWRNORM);

namespace {

/// Errors and hang-ups always count, even for who asks for nothing else.
std::uint32_t epoll_events(short events) noexcept
{
    auto result = static_cast<std::uint32_t>(static_cast<unsigned short>(events)) | EPOLLERR | EPOLLHUP;
    if (events & POLLRDNORM)
        result |= EPOLLIN;
    if (events & POLLWRNORM)
        result |= EPOLLOUT;
    return result;
}

wait_status status_of(wake_cause cause) noexcept
{
    switch (cause) {
    case wake_cause::notified: return wait_status::ready;
    case wake_cause::timed_out: return wait_status::timed_out;
    case wake_cause::deadline: return wait_status::deadline;
    case wake_cause::cancelled: return wait_status::cancelled;
    case wake_cause::handled: return wait_status::handled;
    }
    return wait_status::ready;
}

void close_entry(int descriptor, fd_entry& entry) noexcept
{
    wait_queue::guard held{entry.guard};
    if (!entry.watcher || !entry.watcher->belongs_to_this_process())
        return;
    entry.watcher->forget(descriptor, entry);
    entry.closes.store(entry.closes.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    entry.waiters.notify_if(held, [](waiter& member) { return static_cast<fd_waiter&>(member).closed = true; });
}

const char* name_of(short events) noexcept
{
    return events & POLLIN ? "readable" : events & POLLOUT ? "writable" : "heard from";
}

/// Null where there is none: on a plain thread, and where time is virtual.
reactor* reactor_here() noexcept
{
    if (!this_fiber::active())
        return nullptr;
    try {
        return &reactor::of_this_hub();
    } catch (const std::exception&) {
        return nullptr;
    }
}

/// The waits of one call, one for each descriptor, all of one parking.
class descriptor_waits {
public:
    descriptor_waits(std::span<pollfd> descriptors, reactor& here) : descriptors_{descriptors}, here_{here}
    {
        if (descriptors.size() > few_.size())
            places_ = (many_ = std::make_unique<place[]>(descriptors.size())).get();
    }
    descriptor_waits(const descriptor_waits&) = delete;
    descriptor_waits& operator=(const descriptor_waits&) = delete;

    wait_status wait(clock::time_point deadline, ends_by_signal signals) noexcept
    {
        const auto enlisted = enlist_all();
        // Another hub may have taken an edge between our caller's EAGAIN and now; ours cannot have.
        const bool stay = enlisted == wait_status::ready &&
                          !(watched_elsewhere_ && ::poll(descriptors_.data(), descriptors_.size(), 0) != 0);
        auto result = enlisted;
        if (stay || !self_.claim()) // if we cannot have the claim, a wake-up is on its way and must be awaited
            result = status_of(self_.park(
                {.reason = {"heard from", nullptr, first_descriptor()}, .deadline = deadline, .signals = signals}));
        return leave_all() ? wait_status::closed : result;
    }

private:
    struct place {
        fd_entry* entry = nullptr;
        std::uint32_t closes = 0; ///< the entry's, when it was enlisted
        std::optional<fd_waiter> waiter;
    };

    wait_status enlist_all() noexcept
    {
        for (std::size_t i = 0; i < descriptors_.size(); ++i) {
            if (descriptors_[i].fd < 0)
                continue;
            if (const auto status = enlist(descriptors_[i], places_[i]); status != wait_status::ready) {
                if (status == wait_status::closed)
                    descriptors_[i].revents = POLLNVAL;
                return status;
            }
        }
        return wait_status::ready;
    }

    wait_status enlist(const pollfd& wanted, place& at) noexcept
    {
        auto* entry = fd_table::instance().find_or_make(wanted.fd);
        if (!entry)
            return wait_status::unsupported;
        wait_queue::guard held{entry->guard};
        if (const int error = here_.watch(wanted.fd, *entry))
            return error == EPERM ? wait_status::ready
                                  : status_of_failure(error); // a file never changes: nothing to wait for
        watched_elsewhere_ |= entry->watcher != &here_;
        at.entry = entry;
        at.closes = entry->closes.load(std::memory_order_relaxed);
        at.waiter.emplace(self_, epoll_events(wanted.events));
        entry->waiters.push(held, *at.waiter);
        return wait_status::ready;
    }

    /// Whether one was closed.
    bool leave_all() noexcept
    {
        bool any_closed = false;
        for (std::size_t i = 0; i < descriptors_.size(); ++i) {
            auto& [entry, closes, waiter] = places_[i];
            if (!waiter)
                continue;
            const wait_queue::guard held{entry->guard};
            entry->waiters.remove(held, *waiter);
            // Not only while it waited: also after this fiber was woken, and before it ran.
            const bool closed = waiter->closed || entry->closes.load(std::memory_order_relaxed) != closes;
            descriptors_[i].revents = closed ? POLLNVAL : 0;
            any_closed |= closed;
        }
        return any_closed;
    }

    int first_descriptor() const noexcept
    {
        for (const auto& each : descriptors_)
            if (each.fd >= 0)
                return each.fd;
        return -1;
    }

public:
    static wait_status status_of_failure(int error) noexcept
    {
        return error == EBADF ? wait_status::closed : wait_status::unsupported;
    }

private:
    std::span<pollfd> descriptors_;
    reactor& here_;
    parking self_;
    std::array<place, 8> few_{};
    std::unique_ptr<place[]> many_;
    place* places_ = few_.data();
    bool watched_elsewhere_ = false;
};

void throw_unless_ready(wait_status status, const char* operation)
{
    switch (status) {
    case wait_status::ready:
    case wait_status::handled:
    case wait_status::timed_out: return;
    case wait_status::deadline: throw_if_interrupted(wake_cause::deadline); return;
    case wait_status::cancelled: throw_if_interrupted(wake_cause::cancelled); return;
    case wait_status::closed: throw std::system_error{EBADF, std::generic_category(), operation};
    case wait_status::unsupported: throw std::system_error{EPERM, std::generic_category(), operation};
    }
}

/// In the queue of an entry that this hub's reactor watches, or that another's does and `seen` vouches for.
wait_status wait_in(fd_entry& entry, wait_queue::guard& held, int descriptor, short events, clock::time_point deadline,
                    ends_by_signal signals) noexcept
{
    const auto closes = entry.closes.load(std::memory_order_relaxed);
    parking self;
    fd_waiter place{self, epoll_events(events)};
    const auto cause = entry.waiters.wait(
        held, place, {.reason = {name_of(events), nullptr, descriptor}, .deadline = deadline, .signals = signals});
    // Somebody may have closed it after this fiber was woken, and before it ran.
    const bool closed = place.closed || entry.closes.load(std::memory_order_acquire) != closes;
    return closed ? wait_status::closed : status_of(cause);
}

/// The first wait for a descriptor, or one that another hub watches.
[[gnu::noinline]] wait_status wait_first(int descriptor, short events, clock::time_point deadline, std::uint64_t seen,
                                         ends_by_signal signals) noexcept
{
    auto* here = reactor_here();
    auto* entry = fd_table::instance().find_or_make(descriptor);
    if (!here || !entry)
        return wait_status::unsupported;

    wait_queue::guard held{entry->guard};
    if (const int error = here->watch(descriptor, *entry))
        return descriptor_waits::status_of_failure(error);
    if (seen != 0 && entry->arrivals.load(std::memory_order_relaxed) != seen)
        return wait_status::ready;
    if (entry->watcher != here && seen == 0) {
        held.unlock();
        pollfd one{.fd = descriptor, .events = events, .revents = 0};
        return wait_any_ready({&one, 1}, deadline, signals);
    }
    return wait_in(*entry, held, descriptor, events, deadline, signals);
}

/// `seen`: as in wait_for_arrival.
inline wait_status wait_one(int descriptor, short events, clock::time_point deadline, std::uint64_t seen,
                            ends_by_signal signals) noexcept
{
    if (auto* entry = fd_table::instance().find(descriptor); entry && this_fiber::active()) [[likely]] {
        wait_queue::guard held{entry->guard};
        if (entry->watcher && entry->watcher->is_here()) [[likely]] {
            if (seen != 0 && entry->arrivals.load(std::memory_order_relaxed) != seen)
                return wait_status::ready;
            return wait_in(*entry, held, descriptor, events, deadline, signals);
        }
    }
    return wait_first(descriptor, events, deadline, seen, signals);
}

void wait_for(int descriptor, short events, const char* operation)
{
    pollfd one{.fd = descriptor, .events = events, .revents = 0};
    const int at_most = this_fiber::active() ? 0 : -1; // a plain thread may as well wait here
    if (::poll(&one, 1, at_most) == 0)
        throw_unless_ready(wait_ready(descriptor, events), operation);
    else if (one.revents & POLLNVAL)
        throw_unless_ready(wait_status::closed, operation);
}

} // namespace

wait_status wait_ready(int descriptor, short events, clock::time_point deadline, ends_by_signal signals) noexcept
{
    return wait_one(descriptor, events, deadline, 0, signals);
}

wait_status wait_for_arrival(int descriptor, std::uint64_t seen, clock::time_point deadline,
                             ends_by_signal signals) noexcept
{
    return wait_one(descriptor, POLLIN, deadline, seen, signals);
}

std::uint64_t arrivals(int descriptor) noexcept
{
    const auto* const entry = fd_table::instance().find(descriptor);
    const auto result = arrivals_at(entry);
    return result != 0 && entry->steady.load(std::memory_order_relaxed) ? result : 0;
}

bool emptied(int descriptor, std::uint64_t& seen) noexcept
{
    seen = arrivals(descriptor);
    return seen != 0 && fd_table::instance().find(descriptor)->emptied_at.load(std::memory_order_relaxed) == seen;
}

void note_emptied(int descriptor, std::uint64_t seen) noexcept
{
    auto* const entry = fd_table::instance().find(descriptor);
    if (seen != 0 && entry && entry->steady.load(std::memory_order_relaxed))
        entry->emptied_at.store(seen, std::memory_order_relaxed);
}

void wake_waiters(int descriptor) noexcept
{
    auto* const entry = fd_table::instance().find(descriptor);
    if (!entry)
        return;
    wait_queue::guard held{entry->guard};
    entry->waiters.notify_all(held);
}

wait_status wait_any_ready(std::span<pollfd> descriptors, clock::time_point deadline, ends_by_signal signals) noexcept
{
    auto* here = reactor_here();
    if (!here)
        return wait_status::unsupported;
    try {
        return descriptor_waits{descriptors, *here}.wait(deadline, signals);
    } catch (const std::bad_alloc&) {
        return wait_status::unsupported;
    }
}

void wait_readable(int descriptor)
{
    wait_for(descriptor, POLLIN, "coir::net::wait_readable");
}

void wait_writable(int descriptor)
{
    wait_for(descriptor, POLLOUT, "coir::net::wait_writable");
}

void about_to_close(int descriptor) noexcept
{
    if (auto* entry = fd_table::instance().find(descriptor); entry && entry->watched.load(std::memory_order_relaxed))
        close_entry(descriptor, *entry);
}

void about_to_close_range(unsigned first, unsigned last) noexcept
{
    fd_table::instance().for_each(first, last, [](int descriptor, fd_entry& entry) {
        if (entry.watched.load(std::memory_order_relaxed))
            close_entry(descriptor, entry);
    });
}

} // namespace coir::net
