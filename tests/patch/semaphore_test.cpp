// SPDX-License-Identifier: BSL-1.0
// POSIX semaphores, barriers and spin locks, between fibers, threads and processes.
#include "descriptors.hpp"

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

class semaphore {
public:
    explicit semaphore(unsigned value = 0) { must(::sem_init(&it_, 0, value)); }
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;
    ~semaphore() { ::sem_destroy(&it_); }
    sem_t* operator&() { return &it_; }

private:
    sem_t it_;
};

class barrier {
public:
    explicit barrier(unsigned count) { must(-::pthread_barrier_init(&it_, nullptr, count)); }
    barrier(const barrier&) = delete;
    barrier& operator=(const barrier&) = delete;
    ~barrier() { ::pthread_barrier_destroy(&it_); }
    pthread_barrier_t* operator&() { return &it_; }

private:
    pthread_barrier_t it_;
};

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

} // namespace

TEST_CASE("a semaphore is waited for, with and without a time") {
    CHECK(native_diff([](stage& on) {
              semaphore shared{1};
              on.record("wait", [&] { return ::sem_wait(&shared); });
              on.record("try", [&] { return ::sem_trywait(&shared); });
              for (int kind = 0; kind < 3; ++kind) {
                  auto posting = on.start([&] {
                      on.until_waiting();
                      must(::sem_post(&shared));
                  });
                  const auto later = in(kind == 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME, 3'600'000);
                  on.record("wait", [&] {
                      return kind == 0   ? ::sem_wait(&shared)
                             : kind == 1 ? ::sem_timedwait(&shared, &later)
                                         : ::sem_clockwait(&shared, CLOCK_MONOTONIC, &later);
                  });
                  posting.join();
              }
              const auto soon = in(CLOCK_REALTIME, 3);
              on.record("in time", [&] { return ::sem_timedwait(&shared, &soon); });
              const auto soon_too = in(CLOCK_MONOTONIC, 3);
              on.record("in time", [&] { return ::sem_clockwait(&shared, CLOCK_MONOTONIC, &soon_too); });
              const timespec past{.tv_sec = -1, .tv_nsec = 0};
              on.record("past", [&] { return ::sem_timedwait(&shared, &past); });
              const timespec wrong{.tv_sec = 0, .tv_nsec = 1'000'000'000};
              must(::sem_post(&shared));
              on.record("no time", [&] { return ::sem_timedwait(&shared, &wrong); });
              on.record("no clock", [&] { return ::sem_clockwait(&shared, CLOCK_BOOTTIME, &soon); });
              on.record("past, but free", [&] { return ::sem_timedwait(&shared, &past); });
              int value = -1;
              on.record("value", [&] { return ::sem_getvalue(&shared, &value); });
              on.note(value);
          }) == "wait 0\ntry -1 EAGAIN\nwait 0\nwait 0\nwait 0\nin time -1 ETIMEDOUT\nin time -1 ETIMEDOUT\npast -1 "
                "ETIMEDOUT\nno time -1 EINVAL\nno clock -1 EINVAL\npast, but free 0\nvalue 0\n0\n");
}

TEST_CASE("waiting for a semaphore is cut off, and what was posted is not lost") {
    CHECK(in_fiber([](stage& on) {
              semaphore shared;
              {
                  const coir::timeout limit{std::chrono::milliseconds{2}};
                  on.record("wait", [&] { return ::sem_wait(&shared); });
              }
              auto cancelled = on.start([&] { on.record("wait", [&] { return ::sem_wait(&shared); }); });
              auto other = on.start([&] { on.record("other", [&] { return ::sem_wait(&shared); }); });
              on.until_waiting(cancelled.who());
              on.until_waiting(other.who());
              cancelled.cancel();
              must(::sem_post(&shared));
              cancelled.join();
              other.join();
          }) == "wait -1 ETIMEDOUT\nwait -1 ECANCELED\nother 0\n");
}

TEST_CASE("threads and fibers share a semaphore, and every post is taken once") {
    semaphore full;
    semaphore room{3};
    std::atomic<int> taken{0};
    constexpr int each = 500;
    std::thread posting{[&] {
        for (int i = 0; i < 4 * each; ++i) {
            must(::sem_wait(&room));
            must(::sem_post(&full));
        }
    }};
    const auto take = [&] {
        for (int i = 0; i < each; ++i) {
            must(::sem_wait(&full));
            ++taken;
            must(::sem_post(&room));
        }
    };
    std::thread taking{take};
    coir::run([&] {
        coir::fiber_group fibers;
        for (int i = 0; i < 3; ++i)
            fibers.spawn(take);
        fibers.join();
    });
    posting.join();
    taking.join();
    CHECK(taken == 4 * each);
}

TEST_CASE("a semaphore posted by another process") {
    CHECK(native_diff([](stage& on) {
              auto* shared =
                  static_cast<sem_t*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
              must(::sem_init(shared, 1, 0));
              const auto ends = make_pipe(on);
              const pid_t child = must(::fork());
              if (child == 0) {
                  char byte;
                  ::_exit(::read(ends.a, &byte, 1) == 1 ? ::sem_post(shared) : 1);
              }
              auto telling = on.start([&] {
                  on.until_waiting();
                  must(::write(ends.b, "x", 1));
              });
              on.record("wait", [&] { return ::sem_wait(shared); });
              telling.join();
              must(::waitpid(child, nullptr, 0));
              ::sem_destroy(shared);
              ::munmap(shared, 4096);

              const auto name = "/coir-test-" + std::to_string(::getpid());
              sem_t* const named = ::sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 0);
              sem_t* const same = ::sem_open(name.c_str(), 0);
              ::sem_unlink(name.c_str());
              auto posting = on.start([&] {
                  on.until_waiting();
                  must(::sem_post(same));
              });
              on.record("named", [&] { return ::sem_wait(named); });
              posting.join();
              ::sem_close(named);
              ::sem_close(same);
          }) == "wait 0\nnamed 0\n");
}

TEST_CASE("all meet at a barrier, round after round, and one of them is told") {
    constexpr int members = 5;
    constexpr int rounds = 40;
    CHECK(native_diff([](stage& on) {
              barrier meeting{members};
              std::atomic<int> arrived{0};
              std::atomic<int> serial{0};
              std::atomic<bool> together{true};
              const auto meet = [&] {
                  for (int round = 1; round <= rounds; ++round) {
                      ++arrived;
                      const int result = ::pthread_barrier_wait(&meeting);
                      if (arrived < round * members)
                          together = false;
                      if (result == PTHREAD_BARRIER_SERIAL_THREAD)
                          ++serial;
                      else if (result != 0)
                          together = false;
                  }
              };
              std::vector<companion> others;
              for (int i = 1; i < members; ++i)
                  others.push_back(on.start(meet));
              meet();
              for (auto& each : others)
                  each.join();
              on.note(arrived.load(), serial.load(), together.load());
          }) == "200 40 1\n");
}

TEST_CASE("threads and fibers meet at one barrier") {
    barrier meeting{4};
    std::atomic<int> serial{0};
    const auto meet = [&] {
        for (int round = 0; round < 200; ++round)
            if (::pthread_barrier_wait(&meeting) == PTHREAD_BARRIER_SERIAL_THREAD)
                ++serial;
    };
    std::thread one{meet};
    std::thread two{meet};
    coir::run([&] {
        coir::fiber_group fibers;
        fibers.spawn(meet);
        fibers.spawn(meet);
        fibers.join();
    });
    one.join();
    two.join();
    CHECK(serial == 200);
}

TEST_CASE("fibers of two hubs share a semaphore and a barrier") {
    semaphore full;
    semaphore room{2};
    barrier meeting{4};
    std::atomic<int> taken{0};
    constexpr int each = 300;
    const auto hub = [&] {
        coir::run([&] {
            coir::fiber_group fibers;
            fibers.spawn([&] {
                for (int i = 0; i < each; ++i) {
                    must(::sem_wait(&room));
                    must(::sem_post(&full));
                }
                ::pthread_barrier_wait(&meeting);
            });
            fibers.spawn([&] {
                for (int i = 0; i < each; ++i) {
                    must(::sem_wait(&full));
                    ++taken;
                    must(::sem_post(&room));
                }
                ::pthread_barrier_wait(&meeting);
                CHECK(taken == 2 * each);
            });
            fibers.join();
        });
    };
    std::thread other{hub};
    hub();
    other.join();
}

TEST_CASE("who is told destroys the barrier, and the others leave it first") {
    CHECK(native_diff([](stage& on) {
              pthread_barrier_t meeting;
              must(-::pthread_barrier_init(&meeting, nullptr, 3));
              const auto meet = [&] {
                  if (::pthread_barrier_wait(&meeting) == PTHREAD_BARRIER_SERIAL_THREAD)
                      on.record_error("destroy", [&] { return ::pthread_barrier_destroy(&meeting); });
              };
              auto one = on.start(meet);
              auto two = on.start(meet);
              meet();
              one.join();
              two.join();
          }) == "destroy 0\n");
}

TEST_CASE("a spin lock held by a fiber that waits is waited for") {
    CHECK(native_diff([](stage& on) {
              pthread_spinlock_t lock;
              must(-::pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE));
              on.record_error("lock", [&] { return ::pthread_spin_lock(&lock); });
              auto other = on.start([&] {
                  on.record_error("another", [&] { return ::pthread_spin_lock(&lock); });
                  ::pthread_spin_unlock(&lock);
              });
              ::usleep(2000);
              on.record_error("try", [&] { return ::pthread_spin_trylock(&lock); });
              ::pthread_spin_unlock(&lock);
              other.join();
              ::pthread_spin_destroy(&lock);
          }) == "lock 0\ntry EBUSY\nanother 0\n");
}
