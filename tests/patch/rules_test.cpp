// SPDX-License-Identifier: BSL-1.0
// What concerns every call: signals and their handlers, cancelled threads, a process without a free descriptor, stdio's
// buffers over a fork. docs/design/patch-rules.md says which rule is tested where.
#include "descriptors.hpp"

#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace {

std::atomic<int> handled{0};
std::atomic<int> handlers_pipe{-1};

class handler {
public:
    handler(int signal, void (*function)(int), int flags = 0) : signal_{signal}
    {
        handled = 0;
        struct sigaction action = {};
        action.sa_handler = function;
        action.sa_flags = flags;
        must(::sigaction(signal, &action, &before_));
    }
    handler(const handler&) = delete;
    handler& operator=(const handler&) = delete;
    ~handler() { ::sigaction(signal_, &before_, nullptr); }

private:
    int signal_;
    struct sigaction before_ = {};
};

} // namespace

TEST_CASE("a signal whose handler returns does not end what a fiber waits for") {
    for (const int flags : {0, SA_RESTART})
        for (const auto& kind : sources()) {
            CAPTURE(flags);
            CAPTURE(std::string{kind.name});
            CHECK(in_fiber([&](stage& on) {
                      const handler counting{SIGUSR1, [](int) { ++handled; }, flags};
                      const auto from = kind.make(on);
                      auto sending = on.start([&] {
                          for (int i = 0; i < 3; ++i) {
                              on.until_waiting();
                              must(::syscall(SYS_tgkill, ::getpid(), on.thread(), SIGUSR1));
                          }
                          on.until_waiting();
                          from.feed();
                      });
                      char bytes[4096];
                      on.note(::read(from.descriptor, bytes, from.size) > 0);
                      sending.join();
                      on.note(handled.load());
                  }) == "1\n3\n");
        }
}

TEST_CASE("a handler runs on the stack of whatever fiber runs, which has room for it") {
    CHECK(native_diff([](stage& on) {
              const handler deep{SIGUSR1, [](int) {
                                     volatile char room[16 * 1024];
                                     for (std::size_t i = 0; i < sizeof room; i += 512)
                                         room[i] = static_cast<char>(i);
                                     ++handled;
                                 }};
              must(::syscall(SYS_tgkill, ::getpid(), on.thread(), SIGUSR1));
              on.note(handled.load());
          }) == "1\n");
}

TEST_CASE("a handler that writes, a thousand times a second, disturbs nobody") {
    CHECK(native_diff([](stage& on) {
              const auto ends = make_pipe(on);
              const auto talk = unix_pair(on);
              handlers_pipe = ends.b;
              const handler writing{SIGALRM,
                                    [](int) {
                                        const int before = errno;
                                        if (handled < 2000 && ::write(handlers_pipe, "h", 1) == 1)
                                            ++handled;
                                        errno = before;
                                    },
                                    SA_RESTART};
              const itimerval every{.it_interval = {.tv_sec = 0, .tv_usec = 1000},
                                    .it_value = {.tv_sec = 0, .tv_usec = 1000}};
              must(::setitimer(ITIMER_REAL, &every, nullptr));
              auto answering = on.start([&] {
                  char byte;
                  while (::read(talk.b, &byte, 1) == 1)
                      must(::write(talk.b, &byte, 1));
              });
              int right = 0;
              while (handled < 20) {
                  char byte = 'q';
                  right = ::write(talk.a, &byte, 1) == 1 && ::read(talk.a, &byte, 1) == 1 && byte == 'q';
              }
              const itimerval off{};
              must(::setitimer(ITIMER_REAL, &off, nullptr));
              ::shutdown(talk.a, SHUT_WR);
              answering.join();
              handlers_pipe = -1;
              on.note(right, read_exactly(ends.a, static_cast<std::size_t>(handled)).size() ==
                                 static_cast<std::size_t>(handled));
          }) == "1 1\n");
}

TEST_CASE("a plain thread that is blocked in a patched call can be cancelled") {
    static int ends[2];
    must(::pipe2(ends, O_CLOEXEC));
    static FILE* file = ::fdopen(ends[0], "r");
    using work = void* (*)(void*);
    const work calls[]{
        [](void*) -> void* {
            char byte;
            return ::read(ends[0], &byte, 1) == 1 ? &ends : nullptr;
        },
        [](void*) -> void* {
            pollfd item{.fd = ends[0], .events = POLLIN, .revents = 0};
            return ::poll(&item, 1, -1) == 1 ? &ends : nullptr;
        },
        [](void*) -> void* {
            char line[8];
            return std::fgets(line, sizeof line, file);
        },
        [](void*) -> void* {
            ::pause();
            return nullptr;
        },
    };
    for (const auto call : calls) {
        pthread_t thread;
        must(-::pthread_create(&thread, nullptr, call, nullptr));
        ::usleep(2000);
        must(-::pthread_cancel(thread));
        void* result = nullptr;
        must(-::pthread_join(thread, &result));
        CHECK(result == PTHREAD_CANCELED);
    }
    std::fclose(file);
    ::close(ends[1]);
}

TEST_CASE("without a free descriptor, calls fail as in a thread, and what is open is waited for") {
    CHECK(native_diff([](stage& on) {
              const auto ends = unix_pair(on);
              const auto listener = listen_tcp(on);
              const int client = connect_to(on, listener);
              char byte;
              {
                  auto feeding = on.start([&] { // the reactor, and whatever else is made once, is there from now on
                      on.until_waiting();
                      must(::write(ends.b, "x", 1));
                  });
                  must(::read(ends.a, &byte, 1));
              }
              rlimit before;
              must(::getrlimit(RLIMIT_NOFILE, &before));
              auto feeding = on.start([&] {
                  on.until_waiting();
                  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
                  must(::setrlimit(RLIMIT_NOFILE, &none));
                  must(::write(ends.b, "x", 1));
              });
              on.record("read", [&] { return ::read(ends.a, &byte, 1); });
              on.record("socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0); });
              on.record("accept", [&] { return ::accept(listener.descriptor, nullptr, nullptr); });
              on.record("open", [] { return ::open("/dev/null", O_RDONLY); });
              on.note(std::fopen("/dev/null", "r") == nullptr);
              on.record("poll", [&] {
                  pollfd item{.fd = ends.a, .events = POLLIN, .revents = 0};
                  return ::poll(&item, 1, 0);
              });
              must(::setrlimit(RLIMIT_NOFILE, &before));
              feeding.join();
              static_cast<void>(client);
          }) == "read 1\nsocket -1 EMFILE\naccept -1 EMFILE\nopen -1 EMFILE\n1\npoll -1 EINVAL\n");
}

TEST_CASE("what stdio has not written yet is there twice after a fork") {
    CHECK(native_diff([](stage& on) {
              const auto ends = make_pipe(on);
              on.disown(ends.b);
              FILE* const file = ::fdopen(ends.b, "w");
              std::fputs("text ", file);
              const pid_t child = must(::fork());
              if (child == 0) {
                  std::fputs("child", file);
                  ::_exit(std::fflush(file));
              }
              must(::waitpid(child, nullptr, 0));
              std::fclose(file);
              on.note(read_exactly(ends.a, 100));
          }) == "text childtext \n");
}

TEST_CASE("fibers of a thread share its thread-local variables") {
    static thread_local int number;
    CHECK(in_fiber([](stage& on) {
              number = 1;
              auto other = on.start([] { number = 2; });
              other.join();
              on.note(number);
          }) == "2\n");
}
