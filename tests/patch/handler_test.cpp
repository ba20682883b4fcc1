// SPDX-License-Identifier: BSL-1.0
// Handlers of signals: what they call, and what they do to fibers. tests/launcher has what they do to the waits of a
// program's own threads.
#include "descriptors.hpp"

#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <ctime>

namespace {

class installed {
public:
    installed(int signal, void (*function)(int), int flags) : signal_{signal}
    {
        struct sigaction action = {};
        action.sa_handler = function;
        action.sa_flags = flags;
        must(::sigaction(signal, &action, &before_));
    }
    installed(const installed&) = delete;
    installed& operator=(const installed&) = delete;
    ~installed() { ::sigaction(signal_, &before_, nullptr); }

private:
    int signal_;
    struct sigaction before_ = {};
};

class alarms {
public:
    explicit alarms(int microseconds) { set(microseconds); }
    ~alarms() { set(0); }
    alarms(const alarms&) = delete;
    alarms& operator=(const alarms&) = delete;

private:
    static void set(int microseconds)
    {
        const itimerval every{.it_interval = {0, microseconds}, .it_value = {0, microseconds}};
        must(::setitimer(ITIMER_REAL, &every, nullptr));
    }
};

std::atomic<int> handled{0};
std::array<sem_t, 3> semaphores;
sigjmp_buf back;

/// Suspends where there are fibers: they are in order.
void read_that_waits(stage& on)
{
    const auto ends = make_pipe(on);
    auto writing = on.start([&] {
        on.until_waiting();
        must(::write(ends.b, "x", 1));
    });
    char byte;
    on.record("read", [&] { return ::read(ends.a, &byte, 1); });
    writing.join();
}

} // namespace

TEST_CASE("sem_post in a handler wakes the fibers that wait, whatever it has interrupted") {
    for (auto& each : semaphores)
        must(::sem_init(&each, 0, 0));
    handled = 0;
    const installed posting{SIGALRM,
                            [](int) {
                                const auto turn = static_cast<std::size_t>(handled++);
                                if (turn < 300)
                                    ::sem_post(&semaphores[turn % semaphores.size()]);
                            },
                            0};
    coir::run({.hubs = 1}, [] {
        const alarms often{300};
        coir::fiber_group group;
        std::atomic<int> waiting{0};
        for (auto& semaphore : semaphores)
            group.spawn([&] {
                ++waiting;
                for (int i = 0; i < 100; ++i)
                    while (::sem_wait(&semaphore) != 0) {}
                --waiting;
            });
        // The same locks and queues, and the scheduler, all the time.
        group.spawn([&] {
            sem_t own;
            must(::sem_init(&own, 0, 0));
            coir::fiber posts{[&] {
                while (waiting != 0) {
                    ::sem_post(&own);
                    coir::this_fiber::yield();
                }
                ::sem_post(&own);
            }};
            do
                ::sem_wait(&own);
            while (waiting != 0);
            posts.join();
        });
        group.join();
    });
    for (auto& each : semaphores)
        ::sem_destroy(&each);
}

TEST_CASE("a handler may wait: its thread does, and fibers go on afterwards") {
    static int empty;
    CHECK(native_diff([](stage& on) {
              const auto ends = make_pipe(on);
              empty = ends.a;
              handled = 0;
              const installed waiting{SIGALRM,
                                      [](int) {
                                          const int before = errno;
                                          pollfd item{.fd = empty, .events = POLLIN, .revents = 0};
                                          const timespec little{.tv_sec = 0, .tv_nsec = 200'000};
                                          if (::poll(&item, 1, 1) == 0 && ::nanosleep(&little, nullptr) == 0)
                                              ++handled;
                                          errno = before;
                                      },
                                      SA_RESTART};
              const auto talk = unix_pair(on);
              auto answering = on.start([&] {
                  char byte;
                  while (::read(talk.b, &byte, 1) == 1)
                      must(::write(talk.b, &byte, 1));
              });
              int right = 0;
              {
                  const alarms often{5000};
                  while (handled < 10) {
                      char byte = 'q';
                      right = ::write(talk.a, &byte, 1) == 1 && ::read(talk.a, &byte, 1) == 1 && byte == 'q';
                  }
              }
              ::shutdown(talk.a, SHUT_WR);
              answering.join();
              on.note(right);
          }) == "1\n");
}

TEST_CASE("who leaves a handler by siglongjmp is the fiber that it was") {
    CHECK(native_diff([](stage& on) {
              const bool fiber = coir::this_fiber::active();
              const installed jumping{SIGUSR1, [](int) { ::siglongjmp(back, 1); }, 0};
              volatile int jumps = 0;
              if (::sigsetjmp(back, 1) != 0)
                  jumps = jumps + 1;
              if (jumps < 3)
                  ::raise(SIGUSR1);
              on.note(static_cast<int>(jumps), coir::this_fiber::active() == fiber);
              read_that_waits(on);
          }) == "3 1\nread 1\n");
}

TEST_CASE("what is installed is what the program has installed") {
    CHECK(native_diff([](stage& on) {
              struct sigaction action = {};
              struct sigaction was = {};
              action.sa_sigaction = [](int number, siginfo_t* info, void* context) {
                  handled = info && context && info->si_signo == number ? 7 : 1;
              };
              action.sa_flags = SA_SIGINFO | SA_RESTART;
              ::sigaddset(&action.sa_mask, SIGUSR2);
              handled = 0;
              on.record("sigaction", [&] { return ::sigaction(SIGUSR1, &action, &was); });
              on.note(was.sa_handler == SIG_DFL, was.sa_flags & SA_SIGINFO);
              ::raise(SIGUSR1);
              on.record("sigaction", [&] { return ::sigaction(SIGUSR1, nullptr, &was); });
              on.note(was.sa_sigaction == action.sa_sigaction, was.sa_flags & SA_SIGINFO, was.sa_flags & SA_RESTART,
                      ::sigismember(&was.sa_mask, SIGUSR2), handled.load());
              const auto plain = +[](int) { handled = 9; };
              on.note(::signal(SIGUSR1, plain) == was.sa_handler);
              ::raise(SIGUSR1);
              on.note(::signal(SIGUSR1, SIG_DFL) == plain, handled.load());
              on.record("sigaction", [&] { return ::sigaction(SIGKILL, &action, nullptr); });
              on.record("sigaction", [&] { return ::sigaction(4711, &action, nullptr); });
          }) == "sigaction 0\n1 0\nsigaction 0\n1 4 268435456 1 7\n1\n1 9\nsigaction -1 EINVAL\nsigaction -1 EINVAL\n");
}

namespace {

extern "C" {
int __sigaction(int, const struct sigaction*, struct sigaction*);
sighandler_t bsd_signal(int, sighandler_t);
sighandler_t sysv_signal(int, sighandler_t);
sighandler_t __sysv_signal(int, sighandler_t);
sighandler_t deprecated_sigset(int, sighandler_t) __asm__("sigset");
int deprecated_siginterrupt(int, int) __asm__("siginterrupt");
void plain_longjmp(__jmp_buf_tag*, int) __asm__("longjmp");
void bsd_longjmp(__jmp_buf_tag*, int) __asm__("_longjmp");
void longjmp_for_signals(__jmp_buf_tag*, int) __asm__("siglongjmp");
void checked_longjmp(__jmp_buf_tag*, int) __asm__("__longjmp_chk");
}

sighandler_t install_by_action(int signal, sighandler_t handler)
{
    struct sigaction action = {};
    struct sigaction was = {};
    action.sa_handler = handler;
    return ::__sigaction(signal, &action, &was) == 0 ? was.sa_handler : SIG_ERR;
}

std::atomic<bool> in_a_fiber{false};

void look_who_runs(int)
{
    in_a_fiber = coir::this_fiber::active();
    ++handled;
}

void (*jump)(__jmp_buf_tag*, int) = nullptr;

void jump_back(int)
{
    jump(back, 3);
}

} // namespace

TEST_CASE("a handler is wrapped, and what was there is told, whatever it is installed with") {
    using install = sighandler_t (*)(int, sighandler_t);
    const std::pair<const char*, install> ways[]{
        {"signal", &::signal},
        {"ssignal", &::ssignal},
        {"bsd_signal", &::bsd_signal},
        {"sysv_signal", &::sysv_signal},
        {"__sysv_signal", &::__sysv_signal},
        {"sigset", &deprecated_sigset},
        {"__sigaction", &install_by_action},
    };
    for (const auto& [name, install] : ways) {
        CAPTURE(std::string{name});
        const auto transcript = native_diff([&, install = install](stage& on) {
            const auto other = +[](int) { handled = 100; };
            handled = 0;
            in_a_fiber = true;
            on.note(install(SIGUSR1, look_who_runs) == SIG_DFL);
            ::raise(SIGUSR1);
            on.note(handled.load(), in_a_fiber.load());
            struct sigaction now = {};
            on.record("sigaction", [&] { return ::sigaction(SIGUSR1, nullptr, &now); });
            on.note(now.sa_handler == look_who_runs, now.sa_handler == SIG_DFL, now.sa_flags & SA_RESTART,
                    static_cast<unsigned>(now.sa_flags) & SA_RESETHAND, now.sa_flags & SA_NODEFER);
            install(SIGUSR1, look_who_runs);
            on.note(install(SIGUSR1, other) == look_who_runs);
            ::raise(SIGUSR1);
            on.note(handled.load());
            install(SIGUSR1, SIG_DFL);
            on.note(install(SIGKILL, other) == SIG_ERR);
        });
        CHECK(transcript.starts_with("1\n1 0\nsigaction 0\n"));
        CHECK(transcript.ends_with("\n1\n100\n1\n"));
    }
}

TEST_CASE("sigset holds a signal, says that it was held, and lets it in again") {
    CHECK(native_diff([](stage& on) {
              const auto is_blocked = [] {
                  sigset_t now;
                  must(::sigprocmask(SIG_BLOCK, nullptr, &now));
                  return ::sigismember(&now, SIGUSR1);
              };
              handled = 0;
              on.note(deprecated_sigset(SIGUSR1, look_who_runs) == SIG_DFL);
              on.note(deprecated_sigset(SIGUSR1, SIG_HOLD) == look_who_runs);
              on.note(is_blocked());
              ::raise(SIGUSR1);
              on.note(handled.load());
              on.note(deprecated_sigset(SIGUSR1, SIG_HOLD) == SIG_HOLD);
              on.note(is_blocked());
              on.note(deprecated_sigset(SIGUSR1, look_who_runs) == SIG_HOLD);
              on.note(is_blocked(), handled.load());
              on.note(deprecated_sigset(SIGUSR1, SIG_DFL) == look_who_runs);
              on.note(deprecated_sigset(4711, SIG_HOLD) == SIG_ERR);
          }) == "1\n1\n1\n0\n1\n1\n1\n0 1\n1\n1\n");
}

TEST_CASE("what siginterrupt has changed is told with the handler") {
    CHECK(native_diff([](stage& on) {
              const installed interrupting{SIGUSR1, [](int) { ++handled; }, SA_RESTART};
              for (const int interrupt : {1, 0}) {
                  on.record("siginterrupt", [&] { return deprecated_siginterrupt(SIGUSR1, interrupt); });
                  struct sigaction now = {};
                  must(::sigaction(SIGUSR1, nullptr, &now));
                  on.note((now.sa_flags & SA_RESTART) != 0);
              }
              on.record("siginterrupt", [] { return deprecated_siginterrupt(4711, 1); });
          }) == "siginterrupt 0\n0\nsiginterrupt 0\n1\nsiginterrupt -1 EINVAL\n");
}

TEST_CASE("a handler is left by any of the longjmps, and the fiber is what it was") {
    const std::pair<const char*, void (*)(__jmp_buf_tag*, int)> jumps[]{
        {"longjmp", &plain_longjmp},
        {"_longjmp", &bsd_longjmp},
        {"siglongjmp", &longjmp_for_signals},
        {"__longjmp_chk", &checked_longjmp},
    };
    for (const auto& [name, way] : jumps) {
        CAPTURE(std::string{name});
        jump = way;
        CHECK(native_diff([](stage& on) {
                  const bool fiber = coir::this_fiber::active();
                  const installed jumping{SIGUSR1, jump_back, 0};
                  volatile int result = 0;
                  result = ::sigsetjmp(back, 1);
                  if (result == 0)
                      ::raise(SIGUSR1);
                  on.note(static_cast<int>(result), coir::this_fiber::active() == fiber);
                  result = ::sigsetjmp(back, 1);
                  if (result == 0)
                      jump(back, 0); // outside of a handler, and 0 becomes 1
                  on.note(static_cast<int>(result), coir::this_fiber::active() == fiber);
                  read_that_waits(on);
              }) == "3 1\n1 1\nread 1\n");
    }
}
