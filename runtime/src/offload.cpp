// SPDX-License-Identifier: BSL-1.0
// The pool of helper threads. They never end before the process does: what they run may be blocked in the kernel for
// good, and waiting for that at exit would hang. So the pool is never destroyed, and a fork starts a new one.
#include "intrusive_list.hpp"
#include "scheduler.hpp"

#include <coir/offload.hpp>

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

namespace coir {

namespace {

class pool {
public:
    static pool& instance()
    {
        static const bool prepared = [] {
            current_ = new pool;
            ::pthread_atfork(nullptr, nullptr, [] { current_ = new pool; });
            return true;
        }();
        static_cast<void>(prepared);
        return *current_;
    }

    void submit(offload_job& job)
    {
        wait_queue::guard held{guard_};
        jobs_.push(job);
        ++queued_;
        if (queued_ <= idle_ || threads_ == offload_threads_max()) {
            idle_threads_.notify_one(held);
            return;
        }
        ++threads_;
        held.unlock();
        start_thread();
    }

private:
    void start_thread()
    {
        // Signals are the program's business: helper threads take none.
        sigset_t all;
        sigset_t previous;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &previous);
        std::exception_ptr failure;
        try {
            std::thread{[this] { serve(); }}.detach();
        } catch (...) {
            failure = std::current_exception();
        }
        ::pthread_sigmask(SIG_SETMASK, &previous, nullptr);

        if (failure) {
            const std::lock_guard held{guard_};
            if (--threads_ == 0)
                std::rethrow_exception(failure); // others would have run the job in time; without any it never will be
        }
    }

    void serve()
    {
        ::pthread_setname_np(::pthread_self(), "coir-offload");
        for (;;) {
            wait_queue::guard held{guard_};
            while (queued_ == 0) {
                ++idle_;
                idle_threads_.wait(held, {.reason = {"work"}});
                held.lock();
                --idle_;
            }
            auto& job = jobs_.pop();
            --queued_;
            held.unlock();
            job.run();
        }
    }

    static pool* current_;

    spin_lock guard_;
    intrusive_queue<offload_job, &offload_job::next> jobs_;
    wait_queue idle_threads_;
    std::size_t queued_ = 0;
    std::size_t idle_ = 0;
    std::size_t threads_ = 0;
};

pool* pool::current_ = nullptr;

} // namespace

std::size_t offload_threads_max() noexcept
{
    static const std::size_t most = [] {
        if (const char* text = std::getenv("COIR_OFFLOAD_THREADS"))
            if (const auto count = std::strtoull(text, nullptr, 10); count > 0)
                return static_cast<std::size_t>(count);
        return std::max<std::size_t>(16, 4 * std::size_t{std::thread::hardware_concurrency()});
    }();
    return most;
}

void offload_submit(offload_job& job)
{
    pool::instance().submit(job);
}

outside_work::outside_work() noexcept : fiber_{current_fiber}
{
    if (fiber_)
        fiber_->hub().outside_work.fetch_add(1, std::memory_order_relaxed);
}

outside_work::~outside_work()
{
    if (fiber_)
        fiber_->hub().outside_work.fetch_sub(1, std::memory_order_relaxed);
}

} // namespace coir
