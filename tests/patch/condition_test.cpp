// SPDX-License-Identifier: BSL-1.0
#include "descriptors.hpp"

#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>

namespace {

timespec in(clockid_t which, long milliseconds)
{
    timespec time;
    ::clock_gettime(which, &time);
    time.tv_sec += milliseconds / 1000;
    time.tv_nsec += milliseconds % 1000 * 1'000'000;
    time.tv_sec += time.tv_nsec / 1'000'000'000;
    time.tv_nsec %= 1'000'000'000;
    return time;
}

struct locked_condition {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    int value = 0;
};

} // namespace

TEST_CASE("a condition is waited for and signalled, one waiter at a time or all at once") {
    CHECK(native_diff([](stage& on) {
              locked_condition shared;
              std::atomic<int> woken{0};
              std::vector<companion> waiters;
              for (int i = 0; i < 4; ++i)
                  waiters.push_back(on.start([&] {
                      ::pthread_mutex_lock(&shared.mutex);
                      while (shared.value == 0)
                          ::pthread_cond_wait(&shared.condition, &shared.mutex);
                      --shared.value;
                      ++woken;
                      ::pthread_mutex_unlock(&shared.mutex);
                  }));
              for (auto& each : waiters)
                  on.until_waiting(each.who());
              ::pthread_mutex_lock(&shared.mutex);
              shared.value = 1;
              on.record_error("signal", [&] { return ::pthread_cond_signal(&shared.condition); });
              ::pthread_mutex_unlock(&shared.mutex);
              while (woken != 1)
                  ::usleep(500);
              ::usleep(2000);
              on.note(woken);
              ::pthread_mutex_lock(&shared.mutex);
              shared.value = 3;
              on.record_error("broadcast", [&] { return ::pthread_cond_broadcast(&shared.condition); });
              ::pthread_mutex_unlock(&shared.mutex);
              for (auto& each : waiters)
                  each.join();
              on.note(woken);
              on.record_error("signal to nobody", [&] { return ::pthread_cond_signal(&shared.condition); });
              on.record_error("destroy", [&] { return ::pthread_cond_destroy(&shared.condition); });
          }) == "signal 0\n1\nbroadcast 0\n4\nsignal to nobody 0\ndestroy 0\n");
}

TEST_CASE("a wait with a time gives up at that time, of the condition's clock, and holds the mutex then") {
    CHECK(native_diff([](stage& on) {
              locked_condition shared;
              pthread_condattr_t attributes;
              ::pthread_condattr_init(&attributes);
              ::pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
              pthread_cond_t monotonic;
              ::pthread_cond_init(&monotonic, &attributes);
              ::pthread_mutex_lock(&shared.mutex);
              auto time = in(CLOCK_REALTIME, 5);
              on.record_error("timed",
                              [&] { return ::pthread_cond_timedwait(&shared.condition, &shared.mutex, &time); });
              on.record_error("held", [&] { return ::pthread_mutex_trylock(&shared.mutex); });
              time = in(CLOCK_MONOTONIC, 5);
              on.record_error("monotonic", [&] { return ::pthread_cond_timedwait(&monotonic, &shared.mutex, &time); });
              time = in(CLOCK_MONOTONIC, 5);
              on.record_error("clock", [&] {
                  return ::pthread_cond_clockwait(&shared.condition, &shared.mutex, CLOCK_MONOTONIC, &time);
              });
              time = in(CLOCK_REALTIME, -1000);
              on.record_error("passed",
                              [&] { return ::pthread_cond_timedwait(&shared.condition, &shared.mutex, &time); });
              time.tv_nsec = 1'000'000'000;
              on.record_error("not a time",
                              [&] { return ::pthread_cond_timedwait(&shared.condition, &shared.mutex, &time); });
              on.record_error("not a clock", [&] {
                  return ::pthread_cond_clockwait(&shared.condition, &shared.mutex, CLOCK_PROCESS_CPUTIME_ID, &time);
              });
              on.record_error("unlock", [&] { return ::pthread_mutex_unlock(&shared.mutex); });
              ::pthread_cond_destroy(&monotonic);
          }) == "timed ETIMEDOUT\nheld EBUSY\nmonotonic ETIMEDOUT\nclock ETIMEDOUT\npassed ETIMEDOUT\n"
                "not a time EINVAL\nnot a clock EINVAL\nunlock 0\n");
}

TEST_CASE("a wait with an error-checking mutex of another is refused") {
    CHECK(native_diff([](stage& on) {
              pthread_mutexattr_t attributes;
              ::pthread_mutexattr_init(&attributes);
              ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
              pthread_mutex_t mutex;
              ::pthread_mutex_init(&mutex, &attributes);
              pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
              on.record_error("not held", [&] { return ::pthread_cond_wait(&condition, &mutex); });
              const auto [told, tells] = make_pipe(on);
              auto other = on.start([&, told = told] {
                  char byte;
                  ::pthread_mutex_lock(&mutex);
                  must(::read(told, &byte, 1));
                  ::pthread_mutex_unlock(&mutex);
              });
              on.until_waiting(other.who());
              const auto time = in(CLOCK_REALTIME, 3'600'000);
              on.record_error("another's", [&] { return ::pthread_cond_timedwait(&condition, &mutex, &time); });
              must(::write(tells, "x", 1));
              other.join();
              ::pthread_mutex_lock(&mutex);
              const auto soon = in(CLOCK_REALTIME, 5);
              on.record_error("held", [&] { return ::pthread_cond_timedwait(&condition, &mutex, &soon); });
              on.record_error("unlock", [&] { return ::pthread_mutex_unlock(&mutex); });
          }) == "not held EPERM\nanother's EPERM\nheld ETIMEDOUT\nunlock 0\n");
}

TEST_CASE("a recursive mutex is given back for the wait, and belongs to the waiter after it") {
    CHECK(native_diff([](stage& on) {
              std::recursive_mutex mutex;
              std::condition_variable_any condition;
              bool set = false;
              auto setting = on.start([&] {
                  on.until_waiting();
                  const std::lock_guard held{mutex};
                  const std::lock_guard again{mutex};
                  set = true;
                  condition.notify_one();
              });
              std::unique_lock held{mutex};
              condition.wait(held, [&] { return set; });
              on.note(set, mutex.try_lock());
              mutex.unlock();
          }) == "1 1\n");
}

TEST_CASE("a queue between threads and fibers loses nothing") {
    constexpr int each = 3000;
    coir::run([] {
        std::mutex mutex;
        std::condition_variable filled;
        std::condition_variable emptied;
        std::deque<int> queue;
        long sum = 0;
        int taken = 0;
        const auto produce = [&] {
            for (int i = 1; i <= each; ++i) {
                std::unique_lock held{mutex};
                emptied.wait(held, [&] { return queue.size() < 8; });
                queue.push_back(i);
                filled.notify_one();
            }
        };
        const auto consume = [&] {
            for (int i = 0; i < each; ++i) {
                std::unique_lock held{mutex};
                filled.wait(held, [&] { return !queue.empty(); });
                sum += queue.front();
                queue.pop_front();
                ++taken;
                emptied.notify_one();
            }
        };
        std::vector<std::thread> threads;
        threads.emplace_back(produce);
        threads.emplace_back(consume);
        coir::fiber_group group;
        for (int i = 0; i < 3; ++i) {
            group.spawn(produce);
            group.spawn(consume);
        }
        group.join();
        // What is left is between the threads.
        for (auto& thread : threads)
            thread.join();
        CHECK(taken == 4 * each);
        CHECK(sum == 4L * each * (each + 1) / 2);
    });
}
