// SPDX-License-Identifier: BSL-1.0
// Waiting for signals. They are sent to the thread that waits, so that no other can take them.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace {

std::atomic<int> handled{0};

/// SIGUSR1 is blocked in this thread, and counted when it is delivered.
class counted_signal {
public:
    counted_signal()
    {
        handled = 0;
        struct sigaction action = {};
        action.sa_handler = [](int) { ++handled; };
        ::sigaction(SIGUSR1, &action, &before_);
        ::sigemptyset(&set_);
        ::sigaddset(&set_, SIGUSR1);
        ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    }
    counted_signal(const counted_signal&) = delete;
    counted_signal& operator=(const counted_signal&) = delete;
    ~counted_signal()
    {
        ::pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
        ::sigaction(SIGUSR1, &before_, nullptr);
    }
    const sigset_t* operator&() const { return &set_; }

private:
    struct sigaction before_ = {};
    sigset_t set_;
};

sigset_t mask_without(int signal)
{
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    ::sigdelset(&mask, signal);
    return mask;
}

void send_to(pid_t thread, int signal = SIGUSR1)
{
    must(::syscall(SYS_tgkill, ::getpid(), thread, signal));
}

/// Sends it as soon as the body waits.
companion send_when_waiting(stage& on, int signal = SIGUSR1)
{
    return on.start([&on, signal] {
        on.until_waiting();
        send_to(on.thread(), signal);
    });
}

bool is_blocked(int signal)
{
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return ::sigismember(&mask, signal) == 1;
}

} // namespace

TEST_CASE("sigwait and its kin wait for a signal and take it") {
    CHECK(native_diff([](stage& on) {
              const counted_signal set;
              {
                  auto sending = send_when_waiting(on);
                  int taken = 0;
                  on.record_error("sigwait", [&] { return ::sigwait(&set, &taken); });
                  on.note(taken == SIGUSR1);
              }
              {
                  auto sending = send_when_waiting(on);
                  siginfo_t info{};
                  on.record("sigwaitinfo", [&] { return ::sigwaitinfo(&set, &info); });
                  on.note(info.si_signo == SIGUSR1, info.si_pid == ::getpid());
              }
              {
                  auto sending = send_when_waiting(on);
                  const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
                  on.record("sigtimedwait", [&] { return ::sigtimedwait(&set, nullptr, &hour); });
              }
              send_to(on.thread());
              on.record("already there", [&] { return ::sigwaitinfo(&set, nullptr); });
              const timespec soon{.tv_sec = 0, .tv_nsec = 2'000'000};
              on.record("nothing comes", [&] { return ::sigtimedwait(&set, nullptr, &soon); });
              const timespec none{};
              on.record("at once", [&] { return ::sigtimedwait(&set, nullptr, &none); });
              const timespec wrong{.tv_sec = 0, .tv_nsec = 1'000'000'000};
              on.record("no time", [&] { return ::sigtimedwait(&set, nullptr, &wrong); });
              on.note("handled", handled.load());
          }) == "sigwait 0\n1\nsigwaitinfo 10\n1 1\nsigtimedwait 10\nalready there 10\nnothing comes -1 EAGAIN\nat "
                "once -1 EAGAIN\nno time -1 EINVAL\nhandled 0\n");
}

TEST_CASE("a real-time signal is waited for, and let in by ppoll") {
    const struct ignored { // lest it end the process
        ignored()
        {
            ::signal(SIGRTMIN, [](int) { ++handled; });
        }
        ~ignored() { ::signal(SIGRTMIN, SIG_DFL); }
    } handler;
    CHECK(native_diff([](stage& on) {
              sigset_t set;
              ::sigemptyset(&set);
              ::sigaddset(&set, SIGRTMIN);
              ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
              handled = 0;
              int signal = 0;
              {
                  const auto sends = send_when_waiting(on, SIGRTMIN);
                  on.record_error("sigwait", [&] { return ::sigwait(&set, &signal); });
              }
              on.note(signal == SIGRTMIN, handled.load());
              const auto sends = send_when_waiting(on, SIGRTMIN);
              sigset_t none;
              ::sigemptyset(&none);
              on.record("ppoll", [&] { return ::ppoll(nullptr, 0, nullptr, &none); });
              on.note(handled.load());
          }) == "sigwait 0\n1 0\nppoll -1 EINTR\n1\n");
}

TEST_CASE("pause and sigsuspend wait until a handler has run") {
    CHECK(native_diff([](stage& on) {
              const counted_signal set;
              const auto open = mask_without(SIGUSR1);
              {
                  auto sending = send_when_waiting(on);
                  on.record("sigsuspend", [&] { return ::sigsuspend(&open); });
              }
              on.note(handled.load(), is_blocked(SIGUSR1));
              send_to(on.thread());
              on.record("already there", [&] { return ::sigsuspend(&open); });
              on.note(handled.load(), is_blocked(SIGUSR1));

              ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
              {
                  auto sending = send_when_waiting(on);
                  on.record("pause", [] { return ::pause(); });
              }
              on.note(handled.load(), is_blocked(SIGUSR1));
          }) == "sigsuspend -1 EINTR\n1 1\nalready there -1 EINTR\n2 1\npause -1 EINTR\n3 0\n");
}

TEST_CASE("two fibers pause for different signals, and each has its own") {
    CHECK(in_fiber([](stage& on) {
              const counted_signal set;
              struct sigaction before = {};
              struct sigaction action = {};
              action.sa_handler = [](int) { handled += 100; };
              must(::sigaction(SIGUSR2, &action, &before));
              const auto for_one = mask_without(SIGUSR1);
              sigset_t for_two;
              ::sigfillset(&for_two);
              ::sigdelset(&for_two, SIGUSR2);
              auto one = on.start([&] { on.record("one", [&] { return ::sigsuspend(&for_one); }); });
              auto two = on.start([&] { on.record("two", [&] { return ::sigsuspend(&for_two); }); });
              on.until_waiting(one.who());
              on.until_waiting(two.who());
              send_to(on.thread(), SIGUSR2);
              two.join();
              on.note(handled.load());
              send_to(on.thread(), SIGUSR1);
              one.join();
              on.note(handled.load(), is_blocked(SIGUSR1), is_blocked(SIGUSR2));
              must(::sigaction(SIGUSR2, &before, nullptr));
          }).find("two -1 EINTR") == 0);
}

TEST_CASE("a signal that the mask lets in ends ppoll, pselect and epoll_pwait while they wait") {
    CHECK(native_diff([](stage& on) {
              const counted_signal set;
              const auto open = mask_without(SIGUSR1);
              const auto ends = unix_pair(on);
              pollfd item{.fd = ends.a, .events = POLLIN, .revents = 0};
              {
                  auto sending = send_when_waiting(on);
                  on.record("ppoll", [&] { return ::ppoll(&item, 1, nullptr, &open); });
              }
              fd_set readable;
              FD_ZERO(&readable);
              FD_SET(ends.a, &readable);
              {
                  auto sending = send_when_waiting(on);
                  on.record("pselect",
                            [&] { return ::pselect(ends.a + 1, &readable, nullptr, nullptr, nullptr, &open); });
              }
              const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
              epoll_event event{.events = EPOLLIN, .data = {}};
              must(::epoll_ctl(epoll, EPOLL_CTL_ADD, ends.a, &event));
              {
                  auto sending = send_when_waiting(on);
                  on.record("epoll_pwait", [&] { return ::epoll_pwait(epoll, &event, 1, -1, &open); });
              }
              const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
              {
                  auto sending = send_when_waiting(on);
                  on.record("epoll_pwait2", [&] { return ::epoll_pwait2(epoll, &event, 1, &hour, &open); });
              }
              on.note("handled", handled.load(), is_blocked(SIGUSR1));

              // With the mask, descriptors and times mean what they always do.
              auto feeding = on.start([&] {
                  on.until_waiting();
                  must(::write(ends.b, "x", 1));
              });
              on.record("ppoll", [&] { return ::ppoll(&item, 1, &hour, &open); });
              feeding.join();
              on.note(item.revents == POLLIN);
              on.record("epoll_pwait2", [&] { return ::epoll_pwait2(epoll, &event, 1, nullptr, &open); });
              char byte;
              must(::read(ends.a, &byte, 1));
              const timespec soon{.tv_sec = 0, .tv_nsec = 2'000'000};
              on.record("ppoll", [&] { return ::ppoll(&item, 1, &soon, &open); });
              on.record("epoll_pwait2", [&] { return ::epoll_pwait2(epoll, &event, 1, &soon, &open); });
              const timespec wrong{.tv_sec = 0, .tv_nsec = -1};
              on.record("epoll_pwait2", [&] { return ::epoll_pwait2(epoll, &event, 1, &wrong, nullptr); });
          }) == "ppoll -1 EINTR\npselect -1 EINTR\nepoll_pwait -1 EINTR\nepoll_pwait2 -1 EINTR\nhandled 4 1\nppoll "
                "1\n1\nepoll_pwait2 1\nppoll 0\nepoll_pwait2 0\nepoll_pwait2 -1 EINVAL\n");
}
