// SPDX-License-Identifier: BSL-1.0
// What coir has opened for itself is not there for the program, and it goes on when the program closes everything.
#include "child.hpp"
#include "native_diff.hpp"

#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <set>
#include <thread>

namespace {

constexpr int beyond = 1024;

std::set<int> open_descriptors()
{
    std::set<int> result;
    for (int descriptor = 0; descriptor < beyond; ++descriptor)
        if (::fcntl(descriptor, F_GETFD) >= 0)
            result.insert(descriptor);
    return result;
}

/// Whether fibers wait for descriptors, for time and for children, and are woken.
bool coir_works()
{
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        return false;
    char byte = 0;
    bool right = true;
    {
        coir::fiber writing{[&] {
            ::usleep(1000);
            right &= ::write(ends[1], "x", 1) == 1;
        }};
        right &= ::read(ends[0], &byte, 1) == 1 && byte == 'x';
    }
    const pid_t child = ::fork();
    if (child == 0)
        ::_exit(5);
    int status = 0;
    right &= ::waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5;
    return ::close(ends[0]) == 0 && ::close(ends[1]) == 0 && right;
}

const std::array<std::function<void()>, 4> ways{
    [] { must(::close_range(3, ~0U, 0)); },
    [] { ::closefrom(3); },
    [] {
        for (int descriptor = 3; descriptor < beyond; ++descriptor)
            ::close(descriptor);
    },
    [] {
        for (int descriptor = beyond; --descriptor >= 3;)
            ::close_range(static_cast<unsigned>(descriptor), static_cast<unsigned>(descriptor), 0);
    },
};

} // namespace

TEST_CASE("a program may close every descriptor that it does not know, in every way, and coir goes on") {
    for (const unsigned hubs : {1U, 3U})
        for (const auto& close_all : ways)
            CHECK(support::status_of([&] {
                      bool right = true;
                      coir::run({.hubs = hubs}, [&] {
                          coir::fiber_group group;
                          for (int i = 0; i < 6; ++i)
                              group.spawn({.on = coir::placement::any_hub}, [&] { right &= coir_works(); });
                          group.join();
                          close_all();
                          right &= coir_works();
                          // And again from a thread that is no hub's.
                          std::thread{[&] { close_all(); }}.join();
                          right &= coir_works();
                      });
                      return right ? 7 : 1;
                  }) == 7);
}

TEST_CASE("everything may be closed while fibers wait for descriptors, signals and children") {
    CHECK(support::status_of([] {
              int right = 0;
              coir::run({.hubs = 1}, [&] {
                  sigset_t set;
                  ::sigemptyset(&set);
                  ::sigaddset(&set, SIGUSR1);
                  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
                  std::array<int, 2> ends;
                  must(::pipe2(ends.data(), O_CLOEXEC));
                  const pid_t child = ::fork();
                  if (child == 0) {
                      char byte;
                      ::close(ends[1]);
                      ::_exit(::read(ends[0], &byte, 1) == 0 ? 3 : 1); // when everything has been closed
                  }
                  coir::fiber_group group;
                  group.spawn([&] {
                      int status = 0;
                      right += ::waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3;
                  });
                  group.spawn([&] {
                      int signal = 0;
                      right += ::sigwait(&set, &signal) == 0 && signal == SIGUSR1;
                  });
                  group.spawn([&] {
                      char byte;
                      right += ::read(ends[0], &byte, 1) == -1 && errno == EBADF;
                  });
                  for (int i = 0; i < 10; ++i) // until all three wait
                      coir::this_fiber::yield();
                  ::closefrom(3);
                  ::kill(::getpid(), SIGUSR1);
                  group.join();
              });
              return right;
          }) == 3);
}

TEST_CASE("coir's own descriptors are not where a program looks, and cannot be closed or written over") {
    CHECK(support::status_of([] {
              bool right = true;
              const auto before = open_descriptors();
              coir::run({.hubs = 1}, [&] {
                  right &= coir_works();
                  auto own = open_descriptors();
                  for (const int each : before)
                      own.erase(each);
                  right &= !own.empty() && *own.begin() >= 300;
                  for (const int each : own) {
                      right &= ::close(each) == -1 && errno == EBADF;
                      right &= ::dup2(0, each) == -1 && errno == EBUSY;
                      right &= ::dup3(0, each, O_CLOEXEC) == -1 && errno == EBUSY;
                  }
                  // A number among ours that is not ours is the program's.
                  const int free = *own.rbegin() + 1;
                  right &= ::dup2(0, free) == free && ::close(free) == 0 && ::close(free) == -1;
                  right &= coir_works();
              });
              right &= open_descriptors() == before;
              return right ? 7 : 1;
          }) == 7);
}

TEST_CASE("what a program opens itself is its own, whatever it is") {
    CHECK(native_diff([](stage& on) {
              const int counter = ::eventfd(1, EFD_CLOEXEC);
              on.note(counter < 300);
              on.record("close", [&] { return ::close(counter); });
              on.record("close", [&] { return ::close(counter); });
          }) == "1\nclose 0\nclose -1 EBADF\n");
}
