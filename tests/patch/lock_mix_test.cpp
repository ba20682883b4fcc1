// SPDX-License-Identifier: BSL-1.0
// Every kind of lock that is patched, taken at random by threads and by fibers of two hubs at once. What a lock guards
// is counted without any other care: a wake-up that is lost hangs the test, an exclusion that fails miscounts it.
#include <seed.hpp>

#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <ctime>
#include <functional>
#include <random>
#include <thread>
#include <vector>

namespace {

using generator = std::mt19937_64;

/// How often each kind has been used: what a worker has done, or what the locks have guarded.
using counts = std::array<long, 11>;

constexpr int threads = 3;
constexpr int fibers = 3; ///< of each hub
constexpr int hubs = 2;
constexpr int workers = threads + hubs * fibers;
constexpr int laps = 8; ///< between them all meet

std::array<std::atomic<int>, 4> initialised;
template <int Which> void initialise()
{
    ::usleep(100);
    ++initialised[Which];
}

pthread_mutex_t of_type(int type)
{
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_settype(&attributes, type);
    pthread_mutex_t made;
    ::pthread_mutex_init(&made, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
    return made;
}

/// Three states, as in Drepper, "Futexes Are Tricky" (2011), section 5.
class futex_lock {
public:
    void lock()
    {
        int seen = free;
        if (word_.compare_exchange_strong(seen, held))
            return;
        while (word_.exchange(contended) != free)
            ::syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, contended, nullptr, nullptr, 0);
    }
    void unlock()
    {
        if (word_.exchange(free) == contended)
            ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }

private:
    enum : int { free, held, contended };
    std::atomic<int> word_{free};
};

class mix {
public:
    mix()
    {
        ::pthread_spin_init(&spin_, PTHREAD_PROCESS_PRIVATE);
        ::sem_init(&semaphore_, 0, 1);
        ::mtx_init(&c11_, mtx_plain);
        ::mtx_init(&ticket_lock_, mtx_plain);
        ::cnd_init(&ticket_);
        ::pthread_barrier_init(&meeting_, nullptr, workers);
    }
    ~mix()
    {
        ::pthread_barrier_destroy(&meeting_);
        ::cnd_destroy(&ticket_);
        ::mtx_destroy(&ticket_lock_);
        ::mtx_destroy(&c11_);
        ::sem_destroy(&semaphore_);
        ::pthread_spin_destroy(&spin_);
    }
    mix(const mix&) = delete;
    mix& operator=(const mix&) = delete;

    void work(std::uint64_t seed)
    {
        generator random{seed};
        counts done{};
        for (int lap = 0; lap < laps; ++lap) {
            for (int i = 0; i < 60; ++i) {
                const auto kind = random() % done.size();
                ++done[kind];
                use(kind, random);
            }
            if (::pthread_barrier_wait(&meeting_) == PTHREAD_BARRIER_SERIAL_THREAD)
                ++meetings_;
        }
        for (std::size_t kind = 0; kind < done.size(); ++kind)
            expected_[kind] += done[kind];
    }

    void check() const
    {
        for (std::size_t kind = 0; kind < guarded_.size(); ++kind) {
            CAPTURE(kind);
            CHECK(guarded_[kind] == expected_[kind]);
        }
        CHECK(meetings_ == laps);
        CHECK(balance_ == 0);
        CHECK(waiting_ == 0);
        CHECK(tickets_ == 0);
        CHECK(overtaken_ == 0);
        for (const auto& each : initialised)
            CHECK(each <= 1);
    }

private:
    /// A read and a write with room for another in between.
    void touch(std::size_t kind, generator& random)
    {
        const long before = guarded_[kind];
        switch (random() % 16) {
        case 0: ::sched_yield(); break;
        case 1: ::usleep(1); break;
        default: break;
        }
        guarded_[kind] = before + 1;
    }

    void use(std::size_t kind, generator& random)
    {
        timespec soon{};
        switch (kind) {
        case 0:
            ::pthread_mutex_lock(&plain_);
            touch(kind, random);
            ::pthread_mutex_unlock(&plain_);
            break;
        case 1:
            do {
                ::clock_gettime(CLOCK_REALTIME, &soon);
                soon.tv_sec += soon.tv_nsec > 999'000'000;
                soon.tv_nsec = (soon.tv_nsec + 100'000) % 1'000'000'000;
            } while (::pthread_mutex_timedlock(&checking_, &soon) == ETIMEDOUT);
            touch(kind, random);
            ::pthread_mutex_unlock(&checking_);
            break;
        case 2:
            ::pthread_mutex_lock(&recursive_);
            ::pthread_mutex_lock(&recursive_);
            touch(kind, random);
            ::pthread_mutex_unlock(&recursive_);
            ::pthread_mutex_unlock(&recursive_);
            break;
        case 3:
            if (random() % 3 == 0) {
                ::pthread_rwlock_wrlock(&shared_);
                touch(kind, random);
                ::pthread_rwlock_unlock(&shared_);
                break;
            } else {
                ::pthread_rwlock_rdlock(&shared_);
                const long before = guarded_[kind];
                ::sched_yield();
                overtaken_ += guarded_[kind] != before;
                ::pthread_rwlock_unlock(&shared_);
                --expected_[kind];
                break;
            }
        case 4:
            ::pthread_spin_lock(&spin_);
            touch(kind, random);
            ::pthread_spin_unlock(&spin_);
            break;
        case 5:
            ::sem_wait(&semaphore_);
            touch(kind, random);
            ::sem_post(&semaphore_);
            break;
        case 6:
            ::mtx_lock(&c11_);
            touch(kind, random);
            ::mtx_unlock(&c11_);
            break;
        case 7:
            futex_.lock();
            touch(kind, random);
            futex_.unlock();
            break;
        case 8: { // a queue with room for two: who has put takes next, so that somebody always can
            ::pthread_mutex_lock(&queue_);
            while (waiting_ == 2)
                ::pthread_cond_wait(&has_room_, &queue_);
            ++waiting_;
            balance_ += 7;
            ::pthread_cond_signal(&has_some_);
            ::pthread_mutex_unlock(&queue_);
            ::pthread_mutex_lock(&queue_);
            while (waiting_ == 0)
                ::pthread_cond_wait(&has_some_, &queue_);
            --waiting_;
            balance_ -= 7;
            touch(kind, random);
            ::pthread_cond_signal(&has_room_);
            ::pthread_mutex_unlock(&queue_);
            break;
        }
        case 9:
            ::mtx_lock(&ticket_lock_);
            ++tickets_;
            ::cnd_signal(&ticket_);
            while (tickets_ == 0)
                ::cnd_wait(&ticket_, &ticket_lock_);
            --tickets_;
            touch(kind, random);
            ::mtx_unlock(&ticket_lock_);
            break;
        case 10: {
            const auto which = random() % initialised.size();
            static constexpr void (*functions[])(){initialise<0>, initialise<1>, initialise<2>, initialise<3>};
            ::pthread_once(&once_[which], functions[which]);
            overtaken_ += initialised[which] != 1;
            --expected_[kind];
            break;
        }
        default: break;
        }
    }

    counts guarded_{}; ///< each by its lock
    std::array<std::atomic<long>, std::tuple_size_v<counts>> expected_{};
    std::atomic<int> meetings_{0};
    std::atomic<int> overtaken_{0};

    pthread_mutex_t plain_ = of_type(PTHREAD_MUTEX_NORMAL);
    pthread_mutex_t checking_ = of_type(PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_t recursive_ = of_type(PTHREAD_MUTEX_RECURSIVE);
    pthread_rwlock_t shared_ = PTHREAD_RWLOCK_INITIALIZER;
    pthread_spinlock_t spin_{};
    sem_t semaphore_{};
    mtx_t c11_{};
    futex_lock futex_;
    pthread_mutex_t queue_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t has_room_ = PTHREAD_COND_INITIALIZER;
    pthread_cond_t has_some_ = PTHREAD_COND_INITIALIZER;
    int waiting_ = 0;
    long balance_ = 0;
    mtx_t ticket_lock_{};
    cnd_t ticket_{};
    int tickets_ = 0;
    std::array<pthread_once_t, 4> once_{PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};
    pthread_barrier_t meeting_{};
};

} // namespace

TEST_CASE("threads and fibers of two hubs share every kind of lock, at random, and nothing is lost") {
    const auto seed = support::seed();
    for (std::uint64_t round = 0; round < 3; ++round) {
        CAPTURE(seed);
        CAPTURE(round);
        for (auto& each : initialised)
            each = 0;
        mix all;
        std::vector<std::thread> running;
        auto next = seed + 1000 * round;
        for (int i = 0; i < threads; ++i)
            running.emplace_back([&all, mine = next++] { all.work(mine); });
        for (int i = 0; i < hubs; ++i, next += fibers)
            running.emplace_back([&all, first = next] {
                coir::run([&] {
                    coir::fiber_group group;
                    for (int n = 0; n < fibers; ++n)
                        group.spawn([&all, mine = first + static_cast<std::uint64_t>(n)] { all.work(mine); });
                    group.join();
                });
            });
        for (auto& each : running)
            each.join();
        all.check();
    }
}
