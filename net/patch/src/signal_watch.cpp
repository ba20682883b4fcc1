// SPDX-License-Identifier: BSL-1.0
#include "signal_watch.hpp"

#include "libc.hpp"
#include "own_descriptors.hpp"

#include <coir/net/readiness.hpp>

#include <sys/signalfd.h>

#include <cerrno>

namespace coir {

signal_watch::signal_watch(const sigset_t& signals) noexcept
{
    if (is_empty(signals))
        return;
    const int before = errno;
    descriptor_ = own_descriptors::keep(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    errno = before;
}

signal_watch::~signal_watch()
{
    if (descriptor_ < 0)
        return;
    const int before = errno;
    net::about_to_close(descriptor_);
    own_descriptors::forget(descriptor_);
    libc.close(descriptor_);
    errno = before;
}

bool is_empty(const sigset_t& signals) noexcept
{
    for (int signal = 1; signal < NSIG; ++signal)
        if (::sigismember(&signals, signal) == 1)
            return false;
    return true;
}

sigset_t let_in_by(const sigset_t& mask) noexcept
{
    sigset_t blocked;
    libc.pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    sigset_t result;
    ::sigemptyset(&result);
    for (int signal = 1; signal < NSIG; ++signal)
        if (::sigismember(&blocked, signal) == 1 && ::sigismember(&mask, signal) == 0)
            ::sigaddset(&result, signal);
    return result;
}

} // namespace coir
