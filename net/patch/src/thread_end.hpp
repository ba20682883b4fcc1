// SPDX-License-Identifier: BSL-1.0
#pragma once
// The end of a thread, for who joins it.
#include <coir/wait_queue.hpp>

#include <cerrno>
#include <mutex>

namespace coir {

class thread_end {
public:
    /// The thread has ended. Who joins it goes on.
    void come() noexcept
    {
        wait_queue::guard held{guard_};
        come_ = true;
        joiners_.notify_all(held);
    }
    void detach() noexcept
    {
        const std::lock_guard held{guard_};
        detached_ = true;
    }

    /// As pthread_join. `self` is the end of who calls, null if that is no thread. `take` is called when the thread has
    /// ended, fetches its result, and returns 0 or ETIMEDOUT. Suspends.
    template <class Take> int join(thread_end* self, clock::time_point deadline, Take&& take) noexcept
    {
        wait_queue::guard held{guard_};
        if (detached_)
            return EINVAL;
        if (self == this || (self && joins_ == self))
            return EDEADLK;
        if (being_joined_)
            return EINVAL;
        being_joined_ = true;
        if (self)
            self->joins_ = this;
        auto cause = wake_cause::notified;
        if (!come_)
            cause = joiners_.wait(held, {.reason = {"pthread_join", this}, .deadline = deadline});
        else
            held.unlock();
        const int error = cause == wake_cause::notified ? take() : ETIMEDOUT;
        if (self)
            self->joins_ = nullptr;
        if (error == ETIMEDOUT) {
            held.lock();
            being_joined_ = false;
        }
        return error;
    }
    /// The same without waiting: EBUSY.
    template <class Take> int try_join(Take&& take) noexcept
    {
        const std::lock_guard held{guard_};
        if (detached_ || being_joined_)
            return EINVAL;
        if (!come_)
            return EBUSY;
        being_joined_ = true;
        return take();
    }

private:
    spin_lock guard_;
    bool detached_ = false;
    bool come_ = false;
    bool being_joined_ = false;
    thread_end* joins_ = nullptr; ///< that of the thread that this one waits for
    wait_queue joiners_;
};

} // namespace coir
