// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/outside_fiber.hpp>

#include <pthread.h>

#include <cerrno>
#include <csignal>
#include <ctime>

namespace coir::net {

/// Keeps back the SIGPIPE that a write of this thread causes, where there is no MSG_NOSIGNAL: write and splice.
class no_sigpipe {
public:
    no_sigpipe() noexcept
    {
        sigemptyset(&sigpipe_);
        sigaddset(&sigpipe_, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    }
    no_sigpipe(const no_sigpipe&) = delete;
    no_sigpipe& operator=(const no_sigpipe&) = delete;
    ~no_sigpipe()
    {
        if (sigismember(&before_, SIGPIPE) == 0)
            ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

    /// After a call that says -1 and EPIPE: takes the signal, which is pending for this thread. Who had it blocked
    /// before keeps it. errno stays.
    void take() const noexcept
    {
        const outside_fiber not_ours;
        constexpr timespec at_once{};
        if (sigismember(&before_, SIGPIPE) == 0)
            while (::sigtimedwait(&sigpipe_, nullptr, &at_once) == -1 && errno == EINTR) {}
        errno = EPIPE;
    }

private:
    sigset_t sigpipe_;
    sigset_t before_;
};

/// `call` returns as system calls do.
template <class Call> auto without_sigpipe(Call&& call) noexcept
{
    const no_sigpipe quiet;
    const auto result = call();
    if (result == -1 && errno == EPIPE)
        quiet.take();
    return result;
}

} // namespace coir::net
