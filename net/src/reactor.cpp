// SPDX-License-Identifier: BSL-1.0
#include "reactor.hpp"

#include "handler_news.hpp"
#include "reactor_timer.hpp"

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace coir::net {

namespace {

constexpr std::uint32_t everything = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;

std::uint64_t tag(int descriptor, std::uint32_t generation) noexcept
{
    return std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(descriptor);
}

/// What epoll says of the timer in that place: handler_news::tag and these are of no descriptor.
std::uint64_t tag_of_timer(std::size_t place) noexcept
{
    return handler_news::tag + 1 + place;
}

const hub_local<reactor>& reactors()
{
    static const hub_local<reactor> all;
    return all;
}

/// The hub that called fork, if it has a reactor.
reactor* survivor() noexcept
{
    return current_scheduler ? reactors().find() : nullptr;
}

/// A forked child shares the parent's epoll instances, and what it removes from them is lost to the parent. So it
/// forgets them, nobody watches anything there yet, and the one hub that goes on makes an instance of its own.
void start_over_in_children()
{
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] {
        fd_table::instance().start_over_in_child();
        handler_news::start_over_in_child();
        if (auto* here = survivor())
            here->start_over_in_child();
    });
    static_cast<void>(registered);
}

} // namespace

reactor::reactor() : process_{::getpid()}
{
    start_over_in_children();
    listen_for_news();
}

reactor::~reactor()
{
    handler_news::leave();
    // Fibers of other hubs may wait for descriptors that this hub has watched. They wake, try, and register anew.
    fd_table::instance().for_each(0, std::numeric_limits<std::size_t>::max(), [&](int descriptor, fd_entry& entry) {
        wait_queue::guard held{entry.guard};
        if (entry.watcher != this)
            return;
        forget(descriptor, entry);
        entry.waiters.notify_all(held);
    });
}

reactor& reactor::of_this_hub()
{
    return reactors().get();
}

int reactor::watch(int descriptor, fd_entry& entry) noexcept
{
    if (entry.watcher)
        return 0;
    epoll_event event{.events = everything, .data = {.u64 = tag(descriptor, entry.generation)}};
    const int before = errno;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) != 0) {
        // Closed behind our back while a duplicate kept the file open, and now the same pair again: take it over.
        if (errno != EEXIST || ::epoll_ctl(epoll_, EPOLL_CTL_MOD, descriptor, &event) != 0)
            return std::exchange(errno, before);
        errno = before;
    }
    entry.watcher = this;
    entry.watched.store(true, std::memory_order_release);
    return 0;
}

void reactor::forget(int descriptor, fd_entry& entry) noexcept
{
    // Before the close: while a duplicate keeps the file open, epoll would go on reporting it (epoll(7), Q6).
    epoll_event unused{};
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, &unused);
    entry.watcher = nullptr;
    entry.watched.store(false, std::memory_order_relaxed);
    entry.steady.store(true, std::memory_order_relaxed);
    entry.emptied_at.store(0, std::memory_order_relaxed);
    // epoll may have reported events for the file that had this number, which nobody has looked at yet. A new
    // generation makes them miss instead of waking the number's next owner.
    ++entry.generation;
}

void reactor::start_over_in_child() noexcept
{
    epoll_ = set_event_source(*this); // new already: the driver's turn came first, as it did when they were registered
    process_ = ::getpid();
    listen_for_news();
    for (std::size_t place = 0; place < timers_.size(); ++place)
        if (const auto timer = timers_[place].lock()) {
            timer->start_over_in_child();
            watch_timer(place, timer->descriptor());
        }
}

void reactor::listen_for_news() noexcept
{
    const int before = errno;
    epoll_event news{.events = EPOLLIN | EPOLLET, .data = {.u64 = handler_news::tag}};
    if (const int descriptor = handler_news::join(); descriptor >= 0)
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &news);
    errno = before;
}

void reactor::add(const std::shared_ptr<reactor_timer>& timer)
{
    auto place = std::ranges::find_if(timers_, [](const auto& each) { return each.expired(); });
    if (place == timers_.end())
        place = timers_.emplace(timers_.end());
    *place = timer;
    if (!watch_timer(static_cast<std::size_t>(place - timers_.begin()), timer->descriptor()))
        throw std::system_error{errno, std::generic_category(), "coir: epoll_ctl"};
}

bool reactor::watch_timer(std::size_t place, int descriptor) noexcept
{
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = tag_of_timer(place)}};
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

bool reactor::belongs_to_this_process() const noexcept
{
    return ::getpid() == process_;
}

void reactor::take_events(std::span<const epoll_event> events) noexcept
{
    for (const auto& event : events) {
        if (event.data.u64 == handler_news::tag) {
            handler_news::deliver();
            continue;
        }
        if (event.data.u64 > handler_news::tag && event.data.u64 <= handler_news::tag + timers_.size()) {
            if (const auto timer = timers_[event.data.u64 - tag_of_timer(0)].lock())
                timer->expired();
            continue;
        }
        const auto descriptor = static_cast<int>(event.data.u64 & 0xffffffff);
        const auto generation = static_cast<std::uint32_t>(event.data.u64 >> 32);
        std::uint32_t happened = event.events;
        const bool unsteady = happened & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI);
        if (happened & (EPOLLHUP | EPOLLERR))
            happened |= everything; // concerns everyone, whatever they wait for
        if (happened & EPOLLRDHUP)
            happened |= EPOLLIN;

        auto& entry = *fd_table::instance().find(descriptor);
        wait_queue::guard held{entry.guard};
        if (entry.generation != generation)
            continue;
        if (unsteady)
            entry.steady.store(false, std::memory_order_relaxed); // before the count, which publishes it
        if (happened & (EPOLLIN | EPOLLPRI))
            entry.arrivals.store(entry.arrivals.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        entry.waiters.notify_if(
            held, [&](const waiter& member) { return static_cast<const fd_waiter&>(member).events & happened; });
    }
}

} // namespace coir::net
