// SPDX-License-Identifier: BSL-1.0
// pthread mutexes and reader-writer locks, held and waited for by fibers of one thread.
#include "native_diff.hpp"

#include <coir/fiber_group.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>

namespace {

class mutex {
public:
    explicit mutex(int type, bool shared = false)
    {
        pthread_mutexattr_t attributes;
        ::pthread_mutexattr_init(&attributes);
        ::pthread_mutexattr_settype(&attributes, type);
        if (shared)
            ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        ::pthread_mutex_init(&it_, &attributes);
        ::pthread_mutexattr_destroy(&attributes);
    }
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex() { ::pthread_mutex_destroy(&it_); }
    pthread_mutex_t* operator&() { return &it_; }

private:
    pthread_mutex_t it_;
};

struct kind {
    const char* name;
    int type;
};
constexpr std::array kinds{kind{"normal", PTHREAD_MUTEX_NORMAL}, kind{"adaptive", PTHREAD_MUTEX_ADAPTIVE_NP},
                           kind{"recursive", PTHREAD_MUTEX_RECURSIVE},
                           kind{"error-checking", PTHREAD_MUTEX_ERRORCHECK}};

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

TEST_CASE("a mutex held across a wait keeps others out, who wait without blocking the thread") {
    for (const auto& [name, type] : kinds) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  mutex shared{type};
                  on.record_error("lock", [&] { return ::pthread_mutex_lock(&shared); });
                  bool inside = false;
                  auto other = on.start([&] {
                      on.record_error("try", [&] { return ::pthread_mutex_trylock(&shared); });
                      on.record_error("lock", [&] { return ::pthread_mutex_lock(&shared); });
                      inside = true;
                      on.record_error("unlock", [&] { return ::pthread_mutex_unlock(&shared); });
                  });
                  on.until_waiting(other.who());
                  on.note(inside);
                  CHECK(::pthread_mutex_unlock(&shared) == 0); // not noted: who is first to note something now?
                  other.join();
                  on.note(inside);
              }).find("lock 0\ntry EBUSY\n0\n") == 0);
    }
}

TEST_CASE("locking again, unlocking what another holds, and what nobody holds") {
    for (const auto& [name, type] : kinds) {
        CAPTURE(std::string{name});
        const auto transcript = native_diff([type = type](stage& on) {
            const bool owned = type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK;
            mutex shared{type};
            if (owned)
                on.record_error("unlock, free", [&] { return ::pthread_mutex_unlock(&shared); });
            on.record_error("lock", [&] { return ::pthread_mutex_lock(&shared); });
            on.record_error("try again", [&] { return ::pthread_mutex_trylock(&shared); });
            if (owned) {
                on.record_error("lock again", [&] { return ::pthread_mutex_lock(&shared); });
                const auto soon = in(CLOCK_REALTIME, 10);
                on.record_error("timed again", [&] { return ::pthread_mutex_timedlock(&shared, &soon); });
            }
            auto other = on.start([&] {
                on.record_error("another tries", [&] { return ::pthread_mutex_trylock(&shared); });
                if (owned)
                    on.record_error("another unlocks", [&] { return ::pthread_mutex_unlock(&shared); });
                const auto soon = in(CLOCK_REALTIME, 10);
                on.record_error("another waits", [&] { return ::pthread_mutex_timedlock(&shared, &soon); });
            });
            other.join();
            const int times = type == PTHREAD_MUTEX_RECURSIVE ? 4 : 1;
            for (int i = 0; i < times; ++i)
                on.record_error("unlock", [&] { return ::pthread_mutex_unlock(&shared); });
            if (owned)
                on.record_error("unlock, free", [&] { return ::pthread_mutex_unlock(&shared); });
            auto last = on.start([&] {
                on.record_error("another locks", [&] { return ::pthread_mutex_lock(&shared); });
                on.record_error("another unlocks", [&] { return ::pthread_mutex_unlock(&shared); });
            });
            last.join();
        });
        if (type == PTHREAD_MUTEX_ERRORCHECK) {
            CHECK(transcript.find("unlock, free EPERM\nlock 0\ntry again EBUSY\nlock again EDEADLK\n") == 0);
            CHECK(transcript.find("another unlocks EPERM\nanother waits ETIMEDOUT\n") != std::string::npos);
        }
        if (type == PTHREAD_MUTEX_RECURSIVE)
            CHECK(transcript.find("unlock, free EPERM\nlock 0\ntry again 0\nlock again 0\ntimed again 0\n") == 0);
    }
}

TEST_CASE("a lock with a time gives up at that time, of either clock") {
    for (const auto& [name, type] : kinds) {
        CAPTURE(std::string{name});
        native_diff([type = type](stage& on) {
            mutex shared{type};
            ::pthread_mutex_lock(&shared);
            std::atomic<bool> in_vain{false};
            auto other = on.start([&] {
                auto time = in(CLOCK_REALTIME, 5);
                on.record_error("timed", [&] { return ::pthread_mutex_timedlock(&shared, &time); });
                time = in(CLOCK_MONOTONIC, 5);
                on.record_error("clock", [&] { return ::pthread_mutex_clocklock(&shared, CLOCK_MONOTONIC, &time); });
                time = in(CLOCK_REALTIME, -1000);
                on.record_error("passed", [&] { return ::pthread_mutex_timedlock(&shared, &time); });
                time = {.tv_sec = -5, .tv_nsec = 0};
                on.record_error("long passed", [&] { return ::pthread_mutex_timedlock(&shared, &time); });
                time = in(CLOCK_REALTIME, 1000);
                time.tv_nsec = 1'000'000'000;
                on.record_error("not a time", [&] { return ::pthread_mutex_timedlock(&shared, &time); });
                time = in(CLOCK_MONOTONIC, 5);
                on.record_error("not a clock",
                                [&] { return ::pthread_mutex_clocklock(&shared, CLOCK_PROCESS_CPUTIME_ID, &time); });
                in_vain = true;
                time = in(CLOCK_REALTIME, 3'600'000);
                on.record_error("in time", [&] { return ::pthread_mutex_timedlock(&shared, &time); });
                ::pthread_mutex_unlock(&shared);
                time.tv_nsec = -1;
                on.record_error("free", [&] { return ::pthread_mutex_timedlock(&shared, &time); });
                ::pthread_mutex_unlock(&shared);
            });
            on.until(in_vain);
            on.until_waiting(other.who());
            ::pthread_mutex_unlock(&shared);
        });
    }
}

TEST_CASE("a thread's mutex and a fiber's keep each other out") {
    for (const auto& [name, type] : kinds) {
        CAPTURE(std::string{name});
        coir::run([type = type] {
            mutex shared{type};
            int counter = 0;
            const auto count = [&] {
                for (int i = 0; i < 2000; ++i) {
                    REQUIRE(::pthread_mutex_lock(&shared) == 0);
                    const int seen = counter;
                    if (i % 64 == 0)
                        ::sched_yield();
                    counter = seen + 1;
                    REQUIRE(::pthread_mutex_unlock(&shared) == 0);
                }
            };
            std::thread thread{count};
            std::thread second{count};
            coir::fiber_group group;
            for (int i = 0; i < 4; ++i)
                group.spawn(count);
            group.join();
            // Not joined by a fiber before that: std::thread::join blocks the thread.
            thread.join();
            second.join();
            CHECK(counter == 6 * 2000);
        });
    }
}

TEST_CASE("a recursive mutex that the hub's own thread holds is not its fibers'") {
    mutex shared{PTHREAD_MUTEX_RECURSIVE};
    REQUIRE(::pthread_mutex_lock(&shared) == 0);
    coir::run([&] {
        CHECK(::pthread_mutex_trylock(&shared) == EBUSY);
        CHECK(::pthread_mutex_unlock(&shared) == EPERM);
        const auto soon = in(CLOCK_REALTIME, 5);
        CHECK(::pthread_mutex_timedlock(&shared, &soon) == ETIMEDOUT);
    });
    CHECK(::pthread_mutex_unlock(&shared) == 0);
}

TEST_CASE("fibers get a mutex in the order in which they came") {
    coir::run([] {
        mutex shared{PTHREAD_MUTEX_NORMAL};
        std::string order;
        ::pthread_mutex_lock(&shared);
        coir::fiber_group group;
        for (const char letter : std::string{"abcde"})
            group.spawn([&, letter] {
                ::pthread_mutex_lock(&shared);
                order += letter;
                ::pthread_mutex_unlock(&shared);
            });
        ::usleep(2000);
        ::pthread_mutex_unlock(&shared);
        group.join();
        CHECK(order == "abcde");
    });
}

TEST_CASE("waiting for a mutex is not cancelled") {
    CHECK(in_fiber([](stage& on) {
              mutex shared{PTHREAD_MUTEX_NORMAL};
              ::pthread_mutex_lock(&shared);
              auto waiting = on.start([&] {
                  on.record_error("lock", [&] { return ::pthread_mutex_lock(&shared); });
                  ::pthread_mutex_unlock(&shared);
              });
              on.until_waiting(waiting.who());
              waiting.cancel();
              ::usleep(1000);
              on.note("still waiting");
              ::pthread_mutex_unlock(&shared);
              waiting.join();
          }) == "still waiting\nlock 0\n");
}

TEST_CASE("a mutex shared with another process is waited for") {
    CHECK(native_diff([](stage& on) {
              struct shared_memory {
                  pthread_mutex_t mutex;
                  std::atomic<int> step;
              };
              auto* memory = static_cast<shared_memory*>(
                  ::mmap(nullptr, sizeof(shared_memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
              pthread_mutexattr_t attributes;
              ::pthread_mutexattr_init(&attributes);
              ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
              ::pthread_mutex_init(&memory->mutex, &attributes);
              const pid_t child = must(::fork());
              if (child == 0) {
                  const coir::patch::bypass plain; // a hub is not for two processes
                  ::pthread_mutex_lock(&memory->mutex);
                  memory->step = 1;
                  while (memory->step != 2)
                      ::sched_yield();
                  ::pthread_mutex_unlock(&memory->mutex);
                  ::_exit(0);
              }
              while (memory->step != 1)
                  ::usleep(1000);
              on.record_error("try", [&] { return ::pthread_mutex_trylock(&memory->mutex); });
              const auto soon = in(CLOCK_REALTIME, 20);
              on.record_error("timed", [&] { return ::pthread_mutex_timedlock(&memory->mutex, &soon); });
              auto telling = on.start([&] {
                  on.until_waiting();
                  memory->step = 2;
              });
              on.record_error("lock", [&] { return ::pthread_mutex_lock(&memory->mutex); });
              on.record_error("unlock", [&] { return ::pthread_mutex_unlock(&memory->mutex); });
              telling.join();
              int status;
              must(::waitpid(child, &status, 0));
              ::munmap(memory, sizeof *memory);
          }) == "try EBUSY\ntimed ETIMEDOUT\nlock 0\nunlock 0\n");
}

TEST_CASE("reader-writer locks: readers together, writers alone, and both give up in time") {
    CHECK(native_diff([](stage& on) {
              pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
              on.record_error("read", [&] { return ::pthread_rwlock_rdlock(&lock); });
              auto reader = on.start([&] {
                  on.record_error("read too", [&] { return ::pthread_rwlock_rdlock(&lock); });
                  on.record_error("unlock", [&] { return ::pthread_rwlock_unlock(&lock); });
                  auto time = in(CLOCK_REALTIME, 5);
                  on.record_error("timed write", [&] { return ::pthread_rwlock_timedwrlock(&lock, &time); });
                  time = in(CLOCK_MONOTONIC, 5);
                  on.record_error("clock write",
                                  [&] { return ::pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &time); });
                  time.tv_nsec = -1;
                  on.record_error("not a time", [&] { return ::pthread_rwlock_timedwrlock(&lock, &time); });
              });
              reader.join();
              auto writer = on.start([&] {
                  on.record_error("write", [&] { return ::pthread_rwlock_wrlock(&lock); });
                  ::usleep(20'000);
                  on.record_error("unlock", [&] { return ::pthread_rwlock_unlock(&lock); });
              });
              on.until_waiting(writer.who());
              CHECK(::pthread_rwlock_unlock(&lock) == 0);
              writer.join();
              on.record_error("write", [&] { return ::pthread_rwlock_wrlock(&lock); });
              auto late = on.start([&] {
                  auto time = in(CLOCK_REALTIME, 5);
                  on.record_error("timed read", [&] { return ::pthread_rwlock_timedrdlock(&lock, &time); });
                  time = in(CLOCK_MONOTONIC, 5);
                  on.record_error("clock read",
                                  [&] { return ::pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &time); });
                  on.record_error("try", [&] { return ::pthread_rwlock_tryrdlock(&lock); });
              });
              late.join();
              on.record_error("unlock", [&] { return ::pthread_rwlock_unlock(&lock); });
          }) == "read 0\nread too 0\nunlock 0\ntimed write ETIMEDOUT\nclock write ETIMEDOUT\nnot a time EINVAL\n"
                "write 0\nunlock 0\nwrite 0\ntimed read ETIMEDOUT\nclock read ETIMEDOUT\ntry EBUSY\n"
                "unlock 0\n");
}

TEST_CASE("who has a reader-writer lock for writing is told that waiting for it would never end") {
    CHECK(native_diff([](stage& on) {
              pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
              on.record_error("write", [&] { return ::pthread_rwlock_wrlock(&lock); });
              on.record_error("write again", [&] { return ::pthread_rwlock_wrlock(&lock); });
              on.record_error("read", [&] { return ::pthread_rwlock_rdlock(&lock); });
              const auto soon = in(CLOCK_REALTIME, 2);
              on.record_error("timed", [&] { return ::pthread_rwlock_timedwrlock(&lock, &soon); });
              std::atomic<bool> in_vain{false};
              auto other = on.start([&] {
                  on.record_error("another", [&] { return ::pthread_rwlock_timedrdlock(&lock, &soon); });
                  in_vain = true;
                  on.record_error("another", [&] { return ::pthread_rwlock_wrlock(&lock); });
                  on.record_error("unlock", [&] { return ::pthread_rwlock_unlock(&lock); });
              });
              on.until(in_vain);
              on.until_waiting(other.who());
              CHECK(::pthread_rwlock_unlock(&lock) == 0);
              other.join();
              on.record_error("try", [&] { return ::pthread_rwlock_trywrlock(&lock); });
              on.record_error("read", [&] { return ::pthread_rwlock_rdlock(&lock); });
              on.record_error("unlock", [&] { return ::pthread_rwlock_unlock(&lock); });
              on.record_error("read", [&] { return ::pthread_rwlock_rdlock(&lock); });
              on.record_error("unlock", [&] { return ::pthread_rwlock_unlock(&lock); });
              const timespec wrong{.tv_sec = 0, .tv_nsec = -1};
              on.record_error("no time", [&] { return ::pthread_rwlock_timedrdlock(&lock, &wrong); });
              on.record_error("no clock", [&] { return ::pthread_rwlock_clockrdlock(&lock, CLOCK_BOOTTIME, &soon); });
          }) ==
          "write 0\nwrite again EDEADLK\nread EDEADLK\ntimed EDEADLK\nanother ETIMEDOUT\nanother 0\nunlock 0\ntry "
          "0\nread EDEADLK\nunlock 0\nread 0\nunlock 0\nno time EINVAL\nno clock EINVAL\n");
}
