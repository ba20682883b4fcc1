// SPDX-License-Identifier: BSL-1.0
// Closing a descriptor that somebody waits for. Threads of Linux stay where they are, and go on with a file that has no
// number any more; a fiber is woken with EBADF, because the number may soon mean something else. So most of this is not
// compared with a thread.
#include "descriptors.hpp"

#include <coir/clock.hpp>

#include <doctest/doctest.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace {

std::array<char, 4096> room;

struct way_to_close {
    const char* name;
    std::function<void(stage&, int)> act;
};

const std::vector<way_to_close> ways{
    {"close", [](stage& on, int descriptor) { on.close(descriptor); }},
    {"dup2", [](stage& on, int descriptor) { must(::dup2(make_pipe(on).a, descriptor)); }},
    {"dup3", [](stage& on, int descriptor) { must(::dup3(make_pipe(on).a, descriptor, O_CLOEXEC)); }},
    {"close_range",
     [](stage& on, int descriptor) {
         on.disown(descriptor);
         must(::close_range(static_cast<unsigned>(descriptor), static_cast<unsigned>(descriptor), 0));
     }},
    {"fclose",
     [](stage& on, int descriptor) {
         on.disown(descriptor);
         must(::fclose(::fdopen(descriptor, "r+")));
     }},
};

} // namespace

TEST_CASE("a read is woken by a close of what it waits for, in every way, for every kind of descriptor") {
    for (const auto& kind : sources()) {
        for (const auto& way : ways) {
            CAPTURE(std::string{kind.name});
            CAPTURE(std::string{way.name});
            CHECK(in_fiber([&](stage& on) {
                      const auto from = kind.make(on);
                      auto closing = on.start([&] {
                          on.until_waiting();
                          if (way.name == std::string_view{"fclose"}) { // fdopen wants a matching mode
                              on.disown(from.descriptor);
                              must(::fclose(::fdopen(from.descriptor, "r")));
                          } else {
                              way.act(on, from.descriptor);
                          }
                      });
                      on.record("read", [&] { return ::read(from.descriptor, room.data(), from.size); });
                  }) == "read -1 EBADF\n");
        }
    }
}

TEST_CASE("a write, an accept, a connect and waits for readiness are woken by a close") {
    for (const auto& way : ways) {
        CAPTURE(std::string{way.name});
        CHECK(in_fiber([&](stage& on) {
                  const auto closing = [&](int descriptor) {
                      return on.start([&on, &way, descriptor] {
                          on.until_waiting();
                          way.act(on, descriptor);
                      });
                  };
                  const auto [reader, writer] = unix_pair(on);
                  fill(writer);
                  auto one = closing(writer);
                  on.record("write", [&] { return ::write(writer, "x", 1); });
                  one.join();

                  const auto listener = listen_tcp(on);
                  auto two = closing(listener.descriptor);
                  on.record("accept", [&] { return ::accept(listener.descriptor, nullptr, nullptr); });
                  two.join();

                  const auto deaf = listen_tcp(on, 0);
                  connect_to(on, deaf);
                  const int descriptor = on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                  auto three = closing(descriptor);
                  on.record("connect",
                            [&] { return ::connect(descriptor, generic(deaf.address), sizeof deaf.address); });
                  three.join();

                  std::array<pollfd, 3> items{{{.fd = unix_pair(on).a, .events = POLLIN, .revents = 0},
                                               {.fd = unix_pair(on).a, .events = POLLIN, .revents = 0},
                                               {.fd = -1, .events = POLLIN, .revents = 0}}};
                  auto four = closing(items[1].fd);
                  on.record("poll", [&] { return ::poll(items.data(), items.size(), -1); });
                  on.note(items[0].revents, items[1].revents == POLLNVAL, items[2].revents);
                  four.join();

                  const int selected = unix_pair(on).a;
                  fd_set set;
                  FD_ZERO(&set);
                  FD_SET(selected, &set);
                  auto five = closing(selected);
                  on.record("select", [&] { return ::select(selected + 1, &set, nullptr, nullptr, nullptr); });
                  five.join();

                  if (way.name != std::string_view{"fclose"}) {
                      const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
                      epoll_event event;
                      auto six = closing(epoll);
                      on.record("epoll_wait", [&] { return ::epoll_wait(epoll, &event, 1, -1); });
                      six.join();
                  } else {
                      on.note("epoll_wait -1 EBADF");
                  }
              }) == "write -1 EBADF\naccept -1 EBADF\nconnect -1 EBADF\npoll 1\n0 1 0\nselect -1 EBADF\n"
                    "epoll_wait -1 EBADF\n");
    }
}

TEST_CASE("a close from another thread wakes too") {
    CHECK(in_fiber([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              std::atomic<bool> parked{false};
              on.disown(reader);
              std::thread other{[&] {
                  while (!parked)
                      std::this_thread::yield();
                  ::close(reader);
              }};
              auto telling = on.start([&] {
                  on.until_waiting();
                  parked = true;
              });
              on.record("read", [&] { return ::read(reader, room.data(), 1); });
              other.join();
          }) == "read -1 EBADF\n");
}

TEST_CASE("what was received before a close counts") {
    CHECK(in_fiber([](stage& on) {
              const auto [ours, theirs] = unix_pair(on);
              must(::write(theirs, "abc", 3));
              auto closing = on.start([&, mine = ours] {
                  on.until_waiting();
                  on.close(mine);
              });
              on.record("recv all", [&] { return ::recv(ours, room.data(), 10, MSG_WAITALL); });
          }) == "recv all 3\n");
}

TEST_CASE("the next owner of a number is not taken for the last one") {
    CHECK(in_fiber([](stage& on) {
              const auto [ours, theirs] = unix_pair(on);
              const auto other = unix_pair(on);
              must(::write(other.b, "other", 5));
              auto reusing = on.start([&, mine = ours] {
                  on.until_waiting();
                  must(::dup2(other.a, mine));
              });
              on.record("read", [&] { return ::read(ours, room.data(), 5); });
              reusing.join();
              on.record("read", [&] { return ::read(ours, room.data(), 5); });
              auto feeding = on.start([&] {
                  on.until_waiting();
                  must(::write(other.b, "again", 5));
              });
              on.record("read", [&] { return ::read(ours, room.data(), 5); });
          }) == "read -1 EBADF\nread 5\nread 5\n");
}

TEST_CASE("a duplicate goes on when the original is closed, and nothing spins") {
    const auto transcript = in_fiber([](stage& on) {
        const auto [ours, theirs] = unix_pair(on);
        char byte;
        auto feeding = on.start([&] {
            on.until_waiting();
            must(::write(theirs, "a", 1));
        });
        must(::read(ours, &byte, 1)); // now the reactor watches it
        feeding.join();
        const int duplicate = on.own(::dup(ours));
        on.close(ours);
        must(::write(theirs, "b", 1)); // an event for a number that nobody has

        timespec before{};
        timespec after{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        ::usleep(100'000);
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
        const auto spent = (after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec;
        on.note(spent < 50'000'000 ? "asleep" : "spinning");

        on.record("read", [&] { return ::read(duplicate, &byte, 1); });
        on.note(byte);
        auto again = on.start([&] {
            on.until_waiting();
            must(::write(theirs, "c", 1));
        });
        on.record("read", [&] { return ::read(duplicate, &byte, 1); });
        on.note(byte);
    });
    CHECK(transcript == "asleep\nread 1\nb\nread 1\nc\n");
}

TEST_CASE("two numbers of one file are both waited for") {
    native_diff([](stage& on) {
        const auto [ours, theirs] = unix_pair(on);
        const int duplicate = on.own(::dup(ours));
        const auto read_one = [&](int descriptor) {
            char byte;
            must(::read(descriptor, &byte, 1));
        };
        auto first = on.start([&, from = ours] { read_one(from); });
        auto second = on.start([&] { read_one(duplicate); });
        on.until_waiting(first.who());
        on.until_waiting(second.who());
        must(::write(theirs, "ab", 2));
        first.join();
        second.join();
        on.note("both");
    });
}

TEST_CASE("dup2 of a bad descriptor, or onto itself, disturbs nobody") {
    CHECK(
        native_diff([](stage& on) {
            const auto [ours, theirs] = unix_pair(on);
            auto trying = on.start([&, mine = ours, to = theirs] {
                on.until_waiting();
                on.record("dup2", [&] { return ::dup2(-1, mine); });
                on.record("dup3", [&] { return ::dup3(1 << 20, mine, 0); });
                on.note(::dup2(mine, mine) == mine);
                on.record("dup3", [&] { return ::dup3(mine, mine, 0); });
                on.record("close_range",
                          [&] { return ::close_range(static_cast<unsigned>(mine), static_cast<unsigned>(mine), 64); });
                on.record("close_range", [&] {
                    return ::close_range(static_cast<unsigned>(mine), static_cast<unsigned>(mine) - 1, 0);
                });
                on.record("close_range", [&] {
                    return ::close_range(static_cast<unsigned>(mine), static_cast<unsigned>(mine), CLOSE_RANGE_CLOEXEC);
                });
                must(::write(to, "x", 1));
            });
            on.record("read", [&] { return ::read(ours, room.data(), 1); });
        }) == "dup2 -1 EBADF\ndup3 -1 EBADF\n1\ndup3 -1 EINVAL\nclose_range -1 EINVAL\nclose_range -1 EINVAL\n"
              "close_range 0\nread 1\n");
}

TEST_CASE("closing what is not open") {
    CHECK(native_diff([](stage& on) {
              on.record("close", [] { return ::close(unknown(-1)); });
              on.record("close", [] { return ::close(1 << 21); });
              on.record("close_range", [] { return ::close_range(1u << 21, ~0u, 0); });
          }) == "close -1 EBADF\nclose -1 EBADF\nclose_range 0\n");
}

TEST_CASE("a child that closes what it inherited does not disturb its parent") {
    CHECK(in_fiber([](stage& on) {
              const auto [ours, theirs] = unix_pair(on);
              auto forking = on.start([&, mine = ours, to = theirs] {
                  on.until_waiting();
                  for (const bool shares_memory : {false, true}) {
                      const pid_t child = shares_memory ? static_cast<pid_t>(::vfork()) : ::fork();
                      if (child == 0) {
                          ::close(mine);
                          ::dup2(to, mine);
                          ::close_range(3, ~0u, 0);
                          ::_exit(0);
                      }
                      int status;
                      must(::waitpid(child, &status, 0));
                      on.note(WIFEXITED(status));
                  }
                  must(::write(to, "x", 1));
              });
              on.record("read", [&] { return ::read(ours, room.data(), 1); });
          }) == "1\n1\nread 1\n");
}

TEST_CASE("streams and directories are closed as ever") {
    native_diff([](stage& on) {
        FILE* file = ::fdopen(::dup(make_pipe(on).b), "w");
        on.note(::fputs("text", file));
        on.record("fclose", [&] { return ::fclose(file); });
        DIR* directory = ::opendir("/");
        on.note(::readdir(directory) != nullptr);
        on.record("closedir", [&] { return ::closedir(directory); });
        FILE* child = ::popen("exit 3", "r");
        on.note(WEXITSTATUS(::pclose(child)));
    });
}
