// SPDX-License-Identifier: BSL-1.0
#include "native_diff.hpp"

#include <doctest/doctest.h>

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace {

using std::chrono::milliseconds;

template <class Call> bool takes_at_least(milliseconds limit, Call&& call)
{
    const auto start = std::chrono::steady_clock::now();
    call();
    return std::chrono::steady_clock::now() - start >= limit;
}

timespec in(clockid_t which, milliseconds delay)
{
    timespec time;
    ::clock_gettime(which, &time);
    time.tv_nsec += std::chrono::nanoseconds{delay}.count();
    time.tv_sec += time.tv_nsec / 1'000'000'000;
    time.tv_nsec %= 1'000'000'000;
    return time;
}

} // namespace

TEST_CASE("nanosleep sleeps, and refuses what is not a time") {
    CHECK(native_diff([](stage& on) {
              const auto sleep = [&](time_t seconds, long nanoseconds) {
                  const timespec time{.tv_sec = seconds, .tv_nsec = nanoseconds};
                  timespec left{.tv_sec = 7, .tv_nsec = 7};
                  on.record("nanosleep", [&] { return ::nanosleep(&time, &left); });
                  on.note(left.tv_sec, left.tv_nsec);
              };
              sleep(0, 0);
              sleep(0, 1);
              on.note(takes_at_least(milliseconds{5}, [&] { sleep(0, 5'000'000); }));
              sleep(0, 1'000'000'000);
              sleep(0, -1);
              sleep(-1, 0);
          }) == "nanosleep 0\n7 7\nnanosleep 0\n7 7\nnanosleep 0\n7 7\n1\nnanosleep -1 EINVAL\n7 7\n"
                "nanosleep -1 EINVAL\n7 7\nnanosleep -1 EINVAL\n7 7\n");
}

TEST_CASE("nanosleep with a bad pointer" * doctest::skip(sanitized)) {
    CHECK(native_diff([](stage& on) {
              on.record("nanosleep", [] { return ::nanosleep(unknown(static_cast<timespec*>(nullptr)), nullptr); });
          }) == "nanosleep -1 EFAULT\n");
}

TEST_CASE("clock_nanosleep takes durations and instants of several clocks, and returns its error") {
    CHECK(native_diff([](stage& on) {
              for (const clockid_t which : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME}) {
                  const auto at = in(which, milliseconds{5});
                  on.note(takes_at_least(milliseconds{4}, [&] {
                      on.record_error("until", [&] { return ::clock_nanosleep(which, TIMER_ABSTIME, &at, nullptr); });
                  }));
                  on.record_error("passed", [&] { return ::clock_nanosleep(which, TIMER_ABSTIME, &at, nullptr); });
                  const timespec little{.tv_sec = 0, .tv_nsec = 3'000'000};
                  on.note(takes_at_least(milliseconds{3}, [&] {
                      on.record_error("for", [&] { return ::clock_nanosleep(which, 0, &little, nullptr); });
                  }));
                  const timespec bad{.tv_sec = 0, .tv_nsec = 1'000'000'000};
                  on.record_error("bad", [&] { return ::clock_nanosleep(which, 0, &bad, nullptr); });
                  on.record_error("bad", [&] { return ::clock_nanosleep(which, TIMER_ABSTIME, &bad, nullptr); });
              }
              const timespec little{.tv_sec = 0, .tv_nsec = 1};
              on.record_error("no such clock", [&] { return ::clock_nanosleep(4711, 0, &little, nullptr); });
              on.record_error("own time",
                              [&] { return ::clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &little, nullptr); });
          }) == "until 0\n1\npassed 0\nfor 0\n1\nbad EINVAL\nbad EINVAL\n"
                "until 0\n1\npassed 0\nfor 0\n1\nbad EINVAL\nbad EINVAL\n"
                "until 0\n1\npassed 0\nfor 0\n1\nbad EINVAL\nbad EINVAL\n"
                "no such clock EINVAL\nown time EINVAL\n");
}

TEST_CASE("sleep, usleep and what C++ makes of them") {
    CHECK(native_diff([](stage& on) {
              on.record("sleep", [] { return ::sleep(0); });
              on.note(takes_at_least(milliseconds{1000}, [&] { on.record("sleep", [] { return ::sleep(1); }); }));
              on.record("usleep", [] { return ::usleep(0); });
              on.note(takes_at_least(milliseconds{3}, [&] { on.record("usleep", [] { return ::usleep(3000); }); }));
              on.note(
                  takes_at_least(milliseconds{1}, [&] { on.record("usleep", [] { return ::usleep(1'000'001); }); }));
              on.note(takes_at_least(milliseconds{3}, [] { std::this_thread::sleep_for(milliseconds{3}); }));
              on.note(takes_at_least(milliseconds{3}, [] {
                  std::this_thread::sleep_until(std::chrono::steady_clock::now() + milliseconds{3});
              }));
              on.record("sched_yield", [] { return ::sched_yield(); });
          }) == "sleep 0\nsleep 0\n1\nusleep 0\nusleep 0\n1\nusleep 0\n1\n1\n1\nsched_yield 0\n");
}

TEST_CASE("sched_yield lets another go on") {
    CHECK(native_diff([](stage& on) {
              std::atomic<bool> done{false};
              auto other = on.start([&] { done = true; });
              while (!done)
                  ::sched_yield();
              on.note("done");
          }) == "done\n");
}
