// SPDX-License-Identifier: BSL-1.0
#include "reactor.hpp"
#include "reactor_timer.hpp"

#include <coir/net/hub_timer.hpp>
#include <coir/own_descriptors.hpp>

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace coir::net {

namespace {

int make_timer() noexcept
{
    const own_descriptors_scope ours;
    return ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
}

void close_timer(int descriptor) noexcept
{
    const own_descriptors_scope ours;
    ::close(descriptor);
}

} // namespace

// ---- in the reactor -------------------------------------------------------------------------------------------------

reactor_timer::reactor_timer(std::function<void()> call) : call_{std::move(call)}, descriptor_{make_timer()}
{
    if (descriptor_ < 0)
        throw std::system_error{errno, std::generic_category(), "coir: timerfd_create"};
}

reactor_timer::~reactor_timer()
{
    if (descriptor_ >= 0)
        close_timer(descriptor_);
}

void reactor_timer::start(std::chrono::nanoseconds after) noexcept
{
    after_ = std::max(after, std::chrono::nanoseconds{1});
    const auto seconds = std::chrono::floor<std::chrono::seconds>(after_);
    // Never read: setting the time also clears an expiry.
    const itimerspec when{.it_interval = {},
                          .it_value = {.tv_sec = seconds.count(), .tv_nsec = (after_ - seconds).count()}};
    ::timerfd_settime(descriptor_, 0, &when, nullptr);
}

void reactor_timer::expired()
{
    if (!started()) // it was a stale event's
        return;
    after_ = {};
    call_();
}

void reactor_timer::start_over_in_child() noexcept
{
    if (descriptor_ >= 0)
        close_timer(descriptor_);
    descriptor_ = make_timer();
    if (started())
        start(after_);
}

// ---- the public side ------------------------------------------------------------------------------------------------

hub_timer::hub_timer(std::function<void()> call) : timer_{std::make_shared<reactor_timer>(std::move(call))}
{
    reactor::of_this_hub().add(timer_);
}

hub_timer::~hub_timer() = default;

void hub_timer::start(std::chrono::nanoseconds after)
{
    if (!timer_->started())
        timer_->start(after);
}

} // namespace coir::net
