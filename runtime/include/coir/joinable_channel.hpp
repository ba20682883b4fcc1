// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/basic_channel.hpp>

namespace coir {

/// A buffer that counts what came in and has not been reported as done.
template <class T> class counting_buffer : public fifo_buffer<T> {
public:
    using fifo_buffer<T>::fifo_buffer;
    void accepted() noexcept { ++unfinished; }
    std::size_t unfinished = 0;
};

/// A channel of tasks that can be waited for: `join` waits until every value that was sent has been reported by a
/// `task_done`. gevent's JoinableQueue.
///
/// Otherwise as `channel`, but unbounded unless told.
///
///     coir::joinable_channel<int> jobs;
///     coir::fiber worker{[&] { for (int job : jobs) { work(job); jobs.task_done(); } }};
///     jobs.send(1);
///     jobs.join();
template <class T> class joinable_channel : public basic_channel<T, counting_buffer<T>> {
public:
    explicit joinable_channel(std::size_t capacity = unbounded) : basic_channel<T, counting_buffer<T>>{capacity} {}

    /// Once for each value received, when its work is done. Never suspends. Throws std::logic_error if there is none.
    void task_done()
    {
        wait_queue::guard held{this->guard_};
        if (this->buffer_.unfinished == 0)
            throw std::logic_error{"coir::joinable_channel: more task_done than values"};
        if (--this->buffer_.unfinished == 0)
            joiners_.notify_all(held);
    }

    /// Suspends until no task is unfinished. Throws `cancelled`, `timed_out`.
    void join() { join_before(never); }
    /// False if the time ran out first.
    template <class Rep, class Period> bool join_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return join_before(deadline_after(limit));
    }
    template <class Clock, class Duration> bool join_until(const std::chrono::time_point<Clock, Duration>& instant)
    {
        return join_before(deadline_at(instant));
    }

    /// How many values have been sent and not been reported.
    std::size_t unfinished() const noexcept
    {
        std::lock_guard held{this->guard_};
        return this->buffer_.unfinished;
    }

private:
    bool join_before(clock::time_point deadline)
    {
        wait_queue::guard held{this->guard_};
        if (this->buffer_.unfinished == 0)
            return true;
        const auto cause = joiners_.wait(held, {.reason = {"channel join", this}, .deadline = deadline});
        throw_if_interrupted(cause);
        return cause == wake_cause::notified;
    }

    wait_queue joiners_;
};

} // namespace coir
