// SPDX-License-Identifier: BSL-1.0
#include "hub_epoll.hpp"

#include "raw_syscall.hpp"
#include "sanitizers.hpp"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <system_error>

namespace coir {

namespace {

// What the kernel adds to the time-out of a wait: the thread's slack (prctl(2), PR_SET_TIMERSLACK), 50 us unless
// somebody has changed it, or a thousandth of the time-out (a 200th, in a process that is nice), whichever is more
// (fs/select.c, select_estimate_accuracy). So for what is shorter than ten milliseconds it is known.
constexpr std::chrono::microseconds kernel_slack{50};
constexpr std::chrono::milliseconds time_out_max{2};

constexpr auto bell_tag = event_source::reserved;
constexpr auto timer_tag = event_source::reserved + 1;

/// epoll_pwait2(2), since Linux 5.11. Not under ThreadSanitizer, which delivers signals when calls that it knows end.
constinit std::atomic<bool> has_time_outs{COIR_TSAN == 0};

int checked(int result, const char* call)
{
    if (result < 0)
        throw std::system_error{errno, std::generic_category(), call};
    return result;
}

} // namespace

hub_epoll::hub_epoll()
{
    try {
        open();
    } catch (...) {
        close();
        throw;
    }
}

hub_epoll::~hub_epoll()
{
    close();
}

void hub_epoll::open()
{
    epoll_ = checked(::epoll_create1(EPOLL_CLOEXEC), "coir: epoll_create1");
    bell_ = checked(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "coir: eventfd");
    timer_ = checked(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "coir: timerfd_create");
    const auto add = [this](int descriptor, std::uint64_t tag) {
        epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = tag}};
        checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event), "coir: epoll_ctl");
    };
    add(bell_, bell_tag);
    add(timer_, timer_tag);
    armed_for_ = never;
}

void hub_epoll::close() noexcept
{
    for (int* each : {&epoll_, &bell_, &timer_}) {
        if (*each >= 0)
            ::close(*each);
        *each = -1;
    }
}

void hub_epoll::start_over() noexcept
{
    close();
    open(); // into the numbers that have become free
}

void hub_epoll::ring() const noexcept
{
    constexpr std::uint64_t one = 1;
    raw_syscall(SYS_write, bell_, address(&one), sizeof one);
}

void hub_epoll::arm(clock::time_point deadline) noexcept
{
    // A timer that is due too early costs one turn; cheaper than moving it for every wait that ended in time.
    if (deadline >= armed_for_)
        return;
    const auto since_epoch = std::max(deadline.time_since_epoch(), clock::duration{1});
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
    const itimerspec when{.it_interval = {},
                          .it_value = {.tv_sec = seconds.count(), .tv_nsec = (since_epoch - seconds).count()}};
    // Setting the time also clears an expiry that nobody has seen yet.
    ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
    armed_for_ = deadline;
}

void hub_epoll::wait(clock::time_point deadline) noexcept
{
    if (deadline >= armed_for_) {
        take(nullptr);
        return;
    }
    const auto left = deadline.time_since_epoch() - std::chrono::steady_clock::now().time_since_epoch();
    if (left <= kernel_slack || left > time_out_max || !has_time_outs.load(std::memory_order_relaxed)) {
        arm(deadline);
        take(nullptr);
        return;
    }
    const timespec limit{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds{left - kernel_slack}.count()};
    take(&limit);
}

int hub_epoll::wait_for(epoll_event* events, int room, const timespec* limit) noexcept
{
    if (has_time_outs.load(std::memory_order_relaxed)) {
        const long count = raw_syscall(SYS_epoll_pwait2, epoll_, address(events), room, address(limit));
        if (count != -ENOSYS && count != -EPERM) // the latter from filters that are older than the call
            return static_cast<int>(count);
        has_time_outs.store(false, std::memory_order_relaxed);
    }
    return ::epoll_wait(epoll_, events, room, limit ? 0 : -1);
}

bool hub_epoll::take(const timespec* limit) noexcept
{
    epoll_event events[256];
    bool any = false;
    for (;;) {
        const int count = wait_for(events, static_cast<int>(std::size(events)), limit);
        if (count <= 0) // nothing, or a signal
            return any;
        any = true;
        auto* end = events;
        for (int i = 0; i < count; ++i) {
            if (events[i].data.u64 < event_source::reserved)
                *end++ = events[i];
            else if (events[i].data.u64 == timer_tag)
                armed_for_ = never;
        }
        if (end != events && source_)
            source_->take_events({events, end});
        if (count < static_cast<int>(std::size(events)))
            return true;
        limit = &no_time;
    }
}

} // namespace coir
