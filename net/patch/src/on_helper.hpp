// SPDX-License-Identifier: BSL-1.0
#pragma once
// The genuine blocking call on a helper thread, for what cannot be tried without blocking, and for what blocks inside
// libc where no symbol is left to interpose.
#include <coir/offload.hpp>

#include <cerrno>
#include <memory>
#include <netdb.h>
#include <optional>
#include <utility>

namespace coir {

/// Calls `function`, which may use the caller's variables, on a helper thread and waits for it; carries errno back.
template <class Function> auto on_helper(Function&& function) noexcept
{
    int error = errno;
    const shield uninterrupted; // a C function cannot be left by an exception
    try {
        auto result = offload([&] {
            errno = error;
            auto value = function();
            error = errno;
            return value;
        });
        errno = error;
        return result;
    } catch (...) {
        return function(); // no helper thread could be started: block, rather than fail
    }
}

/// Calls `work`, which owns all that it uses, on a helper thread. Cancellation and surrounding timeouts end the wait,
/// and `work` then runs to its end with nobody looking. Carries errno and h_errno back.
template <class Work> class abandonable final : offload_job {
public:
    /// The finished work; nothing if it was abandoned, with the reason in `cause`.
    static std::shared_ptr<Work> run_on_helper(Work&& work, wake_cause& cause)
    {
        auto self = std::make_shared<abandonable>(std::move(work));
        cause = pending_interruption();
        if (cause != wake_cause::notified)
            return nullptr;
        self->keep_ = self;
        const outside_work counted;
        try {
            offload_submit(*self);
        } catch (...) {
            self->keep_.reset();
            throw;
        }
        cause = self->caller_.park({.reason = {"helper thread"}});
        if (cause != wake_cause::notified)
            return nullptr;
        errno = self->errno_;
        h_errno = self->h_errno_;
        return {self, &self->work_};
    }

    explicit abandonable(Work&& work) : work_{std::move(work)} {}

private:
    void run() noexcept override
    {
        errno = errno_;
        h_errno = h_errno_;
        work_();
        errno_ = errno;
        h_errno_ = h_errno;
        const auto last = std::move(keep_);
        if (caller_.claim())
            caller_.wake();
    }

    Work work_;
    int errno_ = errno; ///< the caller's, which the work may leave alone
    int h_errno_ = h_errno;
    parking caller_;
    std::shared_ptr<abandonable> keep_;
};

} // namespace coir
