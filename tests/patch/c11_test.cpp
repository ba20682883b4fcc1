// SPDX-License-Identifier: BSL-1.0
// The locks and waits of C11's <threads.h>.
#include "native_diff.hpp"

#include <doctest/doctest.h>

#include <threads.h>
#include <unistd.h>

#include <atomic>

namespace {

timespec in(long milliseconds)
{
    timespec time;
    ::timespec_get(&time, TIME_UTC);
    time.tv_nsec += milliseconds * 1'000'000;
    time.tv_sec += time.tv_nsec / 1'000'000'000;
    time.tv_nsec %= 1'000'000'000;
    return time;
}

const char* name(int result)
{
    switch (result) {
    case thrd_success: return "success";
    case thrd_busy: return "busy";
    case thrd_timedout: return "timed out";
    case thrd_error: return "error";
    default: return "?";
    }
}

} // namespace

TEST_CASE("a mtx_t held across a wait keeps others out") {
    for (const int type : {int{mtx_plain}, int{mtx_timed}, mtx_plain | mtx_recursive}) {
        CAPTURE(type);
        CHECK(native_diff([type](stage& on) {
                  mtx_t mutex;
                  on.note("init", name(::mtx_init(&mutex, type)));
                  on.note("lock", name(::mtx_lock(&mutex)));
                  std::atomic<bool> in_vain{false};
                  auto other = on.start([&] {
                      on.note("try", name(::mtx_trylock(&mutex)));
                      const auto soon = in(2);
                      on.note("timed", name(::mtx_timedlock(&mutex, &soon)));
                      in_vain = true;
                      on.note("lock", name(::mtx_lock(&mutex)));
                      on.note("unlock", name(::mtx_unlock(&mutex)));
                  });
                  on.until(in_vain);
                  on.until_waiting(other.who());
                  ::mtx_unlock(&mutex);
                  other.join();
                  ::mtx_destroy(&mutex);
              }) == "init success\nlock success\ntry busy\ntimed timed out\nlock success\nunlock success\n");
    }
}

TEST_CASE("a cnd_t is signalled, broadcast, and timed out") {
    CHECK(native_diff([](stage& on) {
              mtx_t mutex;
              cnd_t condition;
              ::mtx_init(&mutex, mtx_plain);
              ::cnd_init(&condition);
              int value = 0;
              auto waiting = on.start([&] {
                  ::mtx_lock(&mutex);
                  while (value == 0)
                      ::cnd_wait(&condition, &mutex);
                  value = 2;
                  ::cnd_broadcast(&condition);
                  ::mtx_unlock(&mutex);
              });
              on.until_waiting(waiting.who());
              ::mtx_lock(&mutex);
              const auto soon = in(2);
              on.note("timed", name(::cnd_timedwait(&condition, &mutex, &soon)));
              value = 1;
              on.note("signal", name(::cnd_signal(&condition)));
              while (value != 2)
                  ::cnd_wait(&condition, &mutex);
              ::mtx_unlock(&mutex);
              waiting.join();
              on.note(value);
              ::cnd_destroy(&condition);
              ::mtx_destroy(&mutex);
          }) == "timed timed out\nsignal success\n2\n");
}

TEST_CASE("call_once, whose function waits") {
    static once_flag flag;
    static int calls;
    CHECK(native_diff([](stage& on) {
              flag = ONCE_FLAG_INIT;
              calls = 0;
              const auto initialise = [] {
                  ::usleep(2000);
                  ++calls;
              };
              auto other = on.start([&] {
                  ::call_once(&flag, initialise);
                  on.note(calls);
              });
              ::call_once(&flag, initialise);
              other.join();
              on.note(calls);
          }) == "1\n1\n");
}

TEST_CASE("thrd_sleep, thrd_yield and thrd_join") {
    CHECK(native_diff([](stage& on) {
              const timespec little{.tv_sec = 0, .tv_nsec = 1'000'000};
              on.record("sleep", [&] { return ::thrd_sleep(&little, nullptr); });
              const timespec wrong{.tv_sec = 0, .tv_nsec = 1'000'000'000};
              on.record("no time", [&] { return ::thrd_sleep(&wrong, nullptr); });
              ::thrd_yield();
              thrd_t thread;
              const auto work = [](void*) {
                  ::usleep(1000);
                  return 42;
              };
              on.note("create", name(::thrd_create(&thread, work, nullptr)));
              int result = 0;
              on.note("join", name(::thrd_join(thread, &result)));
              on.note(result);
          }) == "sleep 0\nno time -2\ncreate success\njoin success\n42\n");
}
