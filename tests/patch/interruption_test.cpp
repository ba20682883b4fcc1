// SPDX-License-Identifier: BSL-1.0
// Cancellation and deadlines at libc's doorstep: the call fails with ECANCELED or ETIMEDOUT, nothing is thrown, and the
// descriptor is as good as before.
#include "descriptors.hpp"

#include <coir/deadline.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

namespace {

struct waiting_call {
    const char* name;
    /// Prepares it; what it returns is the call itself.
    std::function<std::function<long()>(stage&)> prepare;
};

std::function<long()> full_backlog(stage& on)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX; // without a name: the kernel finds one
    const auto new_socket = [&] { return on.own(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); };
    const int listener = new_socket();
    must(::bind(listener, generic(address), sizeof(sa_family_t)));
    must(::listen(listener, 0));
    socklen_t size = sizeof address;
    must(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size));
    must(::connect(new_socket(), generic(address), size));
    return [descriptor = new_socket(), address, size] { return ::connect(descriptor, generic(address), size); };
}

std::function<long()> connecting(stage& on)
{
    const auto listener = listen_tcp(on, 0);
    connect_to(on, listener);
    const int descriptor = on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return [=] { return ::connect(descriptor, generic(listener.address), sizeof listener.address); };
}

std::function<long()> selecting(stage& on)
{
    return [descriptor = unix_pair(on).a] {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(descriptor, &set);
        return ::select(descriptor + 1, &set, nullptr, nullptr, nullptr);
    };
}

std::function<long()> polling(stage& on)
{
    return [descriptor = unix_pair(on).a] {
        pollfd item{.fd = descriptor, .events = POLLIN, .revents = 0};
        return ::poll(&item, 1, -1);
    };
}

std::function<long()> filled(int descriptor, std::function<long(int, const void*, std::size_t)> send)
{
    static const std::vector<char> much(1 << 20);
    fill(descriptor);
    return [=] { return send(descriptor, much.data(), much.size()); };
}

sigset_t user_signal()
{
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    return set;
}

std::vector<waiting_call> calls_for_signals()
{
    return {
        {"sigwaitinfo", [](stage&) { return [set = user_signal()] { return ::sigwaitinfo(&set, nullptr); }; }},
        {"sigtimedwait",
         [](stage&) {
             return [set = user_signal()] {
                 const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
                 return ::sigtimedwait(&set, nullptr, &hour);
             };
         }},
        {"sigwait",
         [](stage&) {
             return [set = user_signal()] {
                 int signal = 0;
                 errno = ::sigwait(&set, &signal);
                 return errno == 0 ? 0 : -1;
             };
         }},
        {"pause", [](stage&) { return [] { return ::pause(); }; }},
        {"sigsuspend",
         [](stage&) {
             user_signal();
             sigset_t none;
             ::sigemptyset(&none);
             return [none] { return ::sigsuspend(&none); };
         }},
        {"ppoll with a mask",
         [](stage& on) {
             user_signal();
             return [descriptor = unix_pair(on).a] {
                 sigset_t none;
                 ::sigemptyset(&none);
                 pollfd item{.fd = descriptor, .events = POLLIN, .revents = 0};
                 return ::ppoll(&item, 1, nullptr, &none);
             };
         }},
    };
}

std::vector<waiting_call> calls_between_descriptors()
{
    return {
        {"recvmmsg",
         [](stage& on) {
             return [fd = unix_pair(on, SOCK_DGRAM).a] {
                 mmsghdr message{};
                 return ::recvmmsg(fd, &message, 1, 0, nullptr);
             };
         }},
        {"sendmmsg",
         [](stage& on) {
             return filled(unix_pair(on, SOCK_DGRAM).a, [](int fd, const void*, std::size_t) {
                 static char bytes[1000];
                 iovec part{bytes, sizeof bytes};
                 mmsghdr message{};
                 message.msg_hdr.msg_iov = &part;
                 message.msg_hdr.msg_iovlen = 1;
                 return ::sendmmsg(fd, &message, 1, 0);
             });
         }},
        {"sendfile",
         [](stage& on) {
             const int to = unix_pair(on).a;
             fill(to);
             return [to, file = make_file(on, "text")] { return ::sendfile(to, file, nullptr, 4); };
         }},
        {"splice",
         [](stage& on) {
             return
                 [from = make_pipe(on).a, to = unix_pair(on).a] { return ::splice(from, nullptr, to, nullptr, 10, 0); };
         }},
        {"tee",
         [](stage& on) { return [from = make_pipe(on).a, to = make_pipe(on).b] { return ::tee(from, to, 10, 0); }; }},
        {"vmsplice",
         [](stage& on) {
             return [fd = make_pipe(on).a] {
                 static char bytes[10];
                 const iovec part{bytes, sizeof bytes};
                 return ::vmsplice(fd, &part, 1, 0);
             };
         }},
        {"eventfd_write",
         [](stage& on) {
             return [fd = on.own(::eventfd(2, EFD_CLOEXEC))] { return ::eventfd_write(fd, ~eventfd_t{0} - 1); };
         }},
        {"eventfd_read",
         [](stage& on) {
             return [fd = on.own(::eventfd(0, EFD_CLOEXEC))] {
                 eventfd_t value;
                 return ::eventfd_read(fd, &value);
             };
         }},
        {"low water",
         [](stage& on) {
             const auto [ours, theirs] = unix_pair(on);
             const int bytes = 10;
             must(::setsockopt(ours, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes));
             return [fd = ours] {
                 static char room[20];
                 return ::recv(fd, room, sizeof room, 0);
             };
         }},
        {"flock",
         [](stage& on) {
             const temporary_directory directory;
             const auto path = directory / "lock";
             const int holding = on.own(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
             must(::flock(holding, LOCK_EX));
             return [fd = on.own(::open(path.c_str(), O_RDWR | O_CLOEXEC))] { return ::flock(fd, LOCK_EX); };
         }},
    };
}

std::vector<waiting_call> waiting_calls()
{
    static char bytes[4096];
    std::vector<waiting_call> all{
        {"connect", connecting},
        {"connect to a full backlog", full_backlog},
        {"accept",
         [](stage& on) {
             return [descriptor = listen_tcp(on).descriptor] { return ::accept(descriptor, nullptr, nullptr); };
         }},
        {"recv", [](stage& on) { return [fd = tcp_pair(on).a] { return ::recv(fd, bytes, 10, 0); }; }},
        {"recv all", [](stage& on) { return [fd = tcp_pair(on).a] { return ::recv(fd, bytes, 10, MSG_WAITALL); }; }},
        {"send",
         [](stage& on) {
             return filled(unix_pair(on).a,
                           [](int fd, const void* data, std::size_t size) { return ::send(fd, data, size, 0); });
         }},
        {"write to a pipe", [](stage& on) { return filled(make_pipe(on).b, ::write); }},
        {"write to a FIFO", [](stage& on) { return filled(make_fifo(on).b, ::write); }},
        {"poll", polling},
        {"poll of nothing", [](stage&) { return [] { return ::poll(nullptr, 0, -1); }; }},
        {"select", selecting},
        {"epoll_wait",
         [](stage& on) {
             return [epoll = on.own(::epoll_create1(EPOLL_CLOEXEC))] {
                 epoll_event event;
                 return ::epoll_wait(epoll, &event, 1, -1);
             };
         }},
        {"nanosleep",
         [](stage&) {
             return [] {
                 const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
                 timespec left{};
                 const int result = ::nanosleep(&hour, &left);
                 CHECK(left.tv_sec == 3599);
                 return result;
             };
         }},
        {"usleep", [](stage&) { return [] { return ::usleep(3'600'000'000U); }; }},
    };
    for (const auto& more : {calls_for_signals(), calls_between_descriptors()})
        all.insert(all.end(), more.begin(), more.end());
    for (const auto& kind : sources())
        all.push_back({kind.name, [&kind](stage& on) {
                           const auto from = kind.make(on);
                           return [from] { return ::read(from.descriptor, bytes, from.size); };
                       }});
    return all;
}

} // namespace

TEST_CASE("a timeout ends every call that waits, with ETIMEDOUT") {
    for (const auto& call : waiting_calls()) {
        CAPTURE(std::string{call.name});
        CHECK(in_fiber([&](stage& on) {
                  const auto wait = call.prepare(on);
                  {
                      const coir::timeout limit{std::chrono::milliseconds{5}};
                      on.record("call", wait);
                      on.record("again", wait); // the deadline has passed, and stays so
                  }
              }) == "call -1 ETIMEDOUT\nagain -1 ETIMEDOUT\n");
    }
}

TEST_CASE("cancellation ends every call that waits, with ECANCELED") {
    for (const auto& call : waiting_calls()) {
        CAPTURE(std::string{call.name});
        CHECK(in_fiber([&](stage& on) {
                  const auto wait = call.prepare(on);
                  auto waiting = on.start([&] {
                      on.record("call", wait);
                      on.record("again", wait);
                      const coir::shield uninterrupted;
                      on.note("shielded", ::usleep(1000));
                  });
                  on.until_waiting(waiting.who());
                  waiting.cancel();
                  waiting.join();
              }) == "call -1 ECANCELED\nagain -1 ECANCELED\nshielded 0\n");
    }
}

TEST_CASE("what could not be interrupted is done: only waiting is") {
    CHECK(in_fiber([](stage& on) {
              const auto [a, b] = unix_pair(on);
              must(::write(b, "abc", 3));
              const coir::timeout limit{std::chrono::nanoseconds{0}};
              char bytes[8];
              on.record("recv", [&] { return ::recv(a, bytes, 8, 0); });
              on.record("send", [&] { return ::send(a, "x", 1, 0); });
              pollfd item{.fd = b, .events = POLLIN, .revents = 0};
              on.record("poll", [&] { return ::poll(&item, 1, -1); });
              on.record("recv", [&] { return ::recv(a, bytes, 8, 0); });
          }) == "recv 3\nsend 1\npoll 1\nrecv -1 ETIMEDOUT\n");
}

TEST_CASE("a descriptor is as good as before after an interrupted call") {
    for (const auto& kind : sources()) {
        CAPTURE(std::string{kind.name});
        CHECK(in_fiber([&](stage& on) {
                  char bytes[4096];
                  const auto from = kind.make(on);
                  {
                      const coir::timeout limit{std::chrono::milliseconds{2}};
                      on.record("read", [&] { return ::read(from.descriptor, bytes, from.size); });
                  }
                  auto cancelled =
                      on.start([&] { on.record("read", [&] { return ::read(from.descriptor, bytes, from.size); }); });
                  on.until_waiting(cancelled.who());
                  cancelled.cancel();
                  cancelled.join();
                  auto feeding = on.start([&] {
                      on.until_waiting();
                      from.feed();
                  });
                  on.note(::read(from.descriptor, bytes, from.size) > 0, is_nonblocking(from.descriptor));
              }) == "read -1 ETIMEDOUT\nread -1 ECANCELED\n1 0\n");
    }
}

TEST_CASE("an interrupted connect can be waited for again") {
    CHECK(in_fiber([](stage& on) {
              const auto listener = listen_tcp(on, 0);
              connect_to(on, listener);
              const int descriptor = on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
              const auto connect = [&] {
                  return ::connect(descriptor, generic(listener.address), sizeof listener.address);
              };
              {
                  const coir::timeout limit{std::chrono::milliseconds{5}};
                  on.record("connect", connect);
              }
              auto accepting = on.start([&] {
                  for (int i = 0; i < 2; ++i)
                      on.own(::accept4(listener.descriptor, nullptr, nullptr, SOCK_CLOEXEC));
              });
              on.record("connect", connect);
              on.note(is_nonblocking(descriptor));
          }) == "connect -1 ETIMEDOUT\nconnect 0\n0\n");
}

TEST_CASE("a send that is interrupted returns what it has sent") {
    CHECK(in_fiber([](stage& on) {
              const auto [a, b] = unix_pair(on);
              const std::vector<char> much(8 << 20);
              {
                  const coir::timeout limit{std::chrono::milliseconds{5}};
                  const auto sent = ::send(a, much.data(), much.size(), 0);
                  on.note(sent > 0 && sent < static_cast<ssize_t>(much.size()));
              }
              char bytes[4];
              must(::write(b, "abc", 3));
              const coir::timeout limit{std::chrono::milliseconds{5}};
              on.record("recv all", [&] { return ::recv(a, bytes, 4, MSG_WAITALL); });
          }) == "1\nrecv all 3\n");
}

TEST_CASE("SO_RCVTIMEO and a timeout: the earlier one ends the call") {
    CHECK(in_fiber([](stage& on) {
              const auto [a, b] = unix_pair(on);
              char byte;
              set_timeout(a, SO_RCVTIMEO, 5);
              {
                  const coir::timeout limit{std::chrono::hours{1}};
                  on.record("recv", [&] { return ::recv(a, &byte, 1, 0); });
              }
              set_timeout(a, SO_RCVTIMEO, 3'600'000);
              const coir::timeout limit{std::chrono::milliseconds{5}};
              on.record("recv", [&] { return ::recv(a, &byte, 1, 0); });
          }) == "recv -1 EAGAIN\nrecv -1 ETIMEDOUT\n");
}

TEST_CASE("sleep returns what is left when it is interrupted") {
    coir::run([] {
        const coir::timeout limit{std::chrono::milliseconds{5}};
        CHECK(::sleep(100) == 100);
        timespec left{};
        const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
        CHECK(::clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, &left) == ETIMEDOUT);
        CHECK(left.tv_sec >= 3599);
    });
}
