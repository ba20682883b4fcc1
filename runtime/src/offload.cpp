// SPDX-License-Identifier: BSL-1.0
// The shared pool's threads never end before the process does: what they run may be blocked in the kernel for good, and
// waiting for that at exit would hang. So it is never destroyed, and a fork starts a new one.
#include "scheduler.hpp"

#include <coir/offload.hpp>
#include <coir/outside_fiber.hpp>

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

namespace coir {

namespace {

offload_pool* shared_pool = nullptr;

} // namespace

offload_pool& offload_pool::shared()
{
    static const bool prepared = [] {
        shared_pool = new offload_pool{offload_threads_max()};
        ::pthread_atfork(nullptr, nullptr, [] { shared_pool = new offload_pool{offload_threads_max()}; });
        return true;
    }();
    static_cast<void>(prepared);
    return *shared_pool;
}

offload_pool::offload_pool(std::size_t threads_max) : threads_max_{std::max<std::size_t>(1, threads_max)} {}

offload_pool::~offload_pool()
{
    const outside_work counted;
    wait_queue::guard held{guard_};
    closed_ = true;
    idle_threads_.notify_all(held);
    held.lock();
    if (threads_ != 0)
        ended_.wait(held, {.reason = {"offload_pool", this}, .interruptible = false});
}

void offload_pool::submit(offload_job& job)
{
    wait_queue::guard held{guard_};
    job.next = nullptr;
    (last_ ? last_->next : first_) = &job;
    last_ = &job;
    ++queued_;
    if (queued_ <= idle_ || threads_ == threads_max_) {
        idle_threads_.notify_one(held);
        return;
    }
    ++threads_;
    held.unlock();
    start_thread(job);
}

void offload_pool::start_thread(offload_job& first)
{
    // Signals are the program's business: helper threads take none.
    sigset_t all;
    sigset_t previous;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &previous);
    std::exception_ptr failure;
    try {
        const outside_fiber guard; // a thread, whatever threads are for the program
        std::thread{[this] { serve(); }}.detach();
    } catch (...) {
        failure = std::current_exception();
    }
    ::pthread_sigmask(SIG_SETMASK, &previous, nullptr);

    if (failure) {
        const std::lock_guard held{guard_};
        if (--threads_ == 0) {
            // Others would have run the job in time; without any it never will be, and it is taken back.
            offload_job* before = nullptr;
            for (auto* each = first_; each != &first; each = each->next)
                before = each;
            (before ? before->next : first_) = first.next;
            if (last_ == &first)
                last_ = before;
            --queued_;
            std::rethrow_exception(failure);
        }
    }
}

void offload_pool::serve() noexcept
{
    ::pthread_setname_np(::pthread_self(), "coir-offload");
    wait_queue::guard held{guard_};
    for (;;) {
        while (queued_ == 0) {
            if (closed_) {
                if (--threads_ == 0)
                    ended_.notify_all(held); // and with that, the pool may be gone
                return;
            }
            ++idle_;
            idle_threads_.wait(held, {.reason = {"work"}});
            held.lock();
            --idle_;
        }
        auto& job = *first_;
        first_ = job.next;
        if (!first_)
            last_ = nullptr;
        --queued_;
        held.unlock();
        job.run();
        held.lock();
    }
}

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
