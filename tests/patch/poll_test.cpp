// SPDX-License-Identifier: BSL-1.0
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <set>

namespace {

std::string events_of(short events)
{
    std::string text;
    for (const auto& [bit, name] : {std::pair{POLLIN, "IN "},
                                    {POLLOUT, "OUT "},
                                    {POLLPRI, "PRI "},
                                    {POLLERR, "ERR "},
                                    {POLLHUP, "HUP "},
                                    {POLLNVAL, "NVAL "},
                                    {POLLRDHUP, "RDHUP "}})
        if (events & bit)
            text += name;
    return text.empty() ? "-" : text;
}

struct wanted {
    int descriptor;
    short events;
};

void poll_and_note(stage& on, const std::vector<wanted>& list, int timeout)
{
    std::vector<pollfd> items;
    for (const auto& each : list)
        items.push_back({.fd = each.descriptor, .events = each.events, .revents = 0x7ff});
    on.record("poll", [&] { return ::poll(items.data(), items.size(), timeout); });
    for (const auto& item : items)
        on.note(" ", events_of(item.revents));
}

using milliseconds = std::chrono::milliseconds;

template <class Call> bool takes_at_least(milliseconds limit, Call&& call)
{
    const auto start = std::chrono::steady_clock::now();
    call();
    return std::chrono::steady_clock::now() - start >= limit;
}

std::atomic<int> signals_taken{0};

class counted_signal {
public:
    counted_signal()
    {
        signals_taken = 0;
        struct sigaction action = {};
        action.sa_handler = [](int) { ++signals_taken; };
        ::sigaction(SIGUSR1, &action, &before_);
    }
    counted_signal(const counted_signal&) = delete;
    counted_signal& operator=(const counted_signal&) = delete;
    ~counted_signal() { ::sigaction(SIGUSR1, &before_, nullptr); }

private:
    struct sigaction before_ = {};
};

sigset_t mask_with(int signal, bool blocked)
{
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked ? sigaddset(&mask, signal) : sigdelset(&mask, signal);
    return mask;
}

} // namespace

TEST_CASE("poll reports what the kernel reports") {
    native_diff([](stage& on) {
        const auto [a, b] = unix_pair(on);
        const auto full = unix_pair(on);
        fill(full.a);
        const auto half_closed = unix_pair(on);
        must(::shutdown(half_closed.b, SHUT_WR));
        const auto closed = unix_pair(on);
        on.close(closed.b);
        const auto pipe = make_pipe(on);
        on.close(pipe.a);
        const auto ended = make_pipe(on);
        on.close(ended.b);
        const int file = make_file(on);
        const int null = on.own(::open("/dev/null", O_RDWR | O_CLOEXEC));
        const int socket = on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const short both = POLLIN | POLLOUT;
        poll_and_note(on,
                      {{a, both},
                       {a, POLLIN},
                       {full.a, both},
                       {half_closed.a, POLLIN},
                       {half_closed.a, POLLRDHUP},
                       {half_closed.a, 0},
                       {closed.a, both},
                       {closed.a, 0},
                       {closed.a, POLLRDHUP},
                       {pipe.b, both},
                       {pipe.b, 0},
                       {ended.a, both},
                       {ended.a, 0},
                       {file, both},
                       {file, 0},
                       {null, both},
                       {socket, both},
                       {-1, both},
                       {-77, both},
                       {1 << 20, both},
                       {a, both}},
                      -1);
    });
}

TEST_CASE("poll with no time, little time, and nothing to do") {
    CHECK(native_diff([](stage& on) {
              const auto [a, b] = unix_pair(on);
              poll_and_note(on, {{a, POLLIN}}, 0);
              poll_and_note(on, {}, 0);
              on.note(takes_at_least(milliseconds{3}, [&] { poll_and_note(on, {{a, POLLIN}}, 3); }));
              on.note(takes_at_least(milliseconds{3}, [&] { poll_and_note(on, {}, 3); }));
              on.note(takes_at_least(milliseconds{3}, [&] { poll_and_note(on, {{-1, POLLIN}}, 3); }));
              on.note(takes_at_least(milliseconds{1}, [&] { poll_and_note(on, {{make_file(on), 0}}, 1); }));
          }) == "poll 0\n  -\npoll 0\npoll 0\n  -\n1\npoll 0\n1\npoll 0\n  -\n1\npoll 0\n  -\n1\n");
}

TEST_CASE("poll waits for the first of several, and reports all that are ready then") {
    CHECK(native_diff([](stage& on) {
              const auto x = unix_pair(on);
              const auto y = make_pipe(on);
              const auto z = udp_pair(on);
              auto feeding = on.start([&] {
                  on.until_waiting();
                  must(::write(y.b, "y", 1));
              });
              const std::vector<wanted> list{{x.a, POLLIN}, {y.a, POLLIN}, {-1, POLLIN}, {z.a, POLLIN}, {y.a, POLLIN}};
              poll_and_note(on, list, -1);
              feeding.join();
              must(::write(x.b, "x", 1));
              poll_and_note(on, list, 10'000);
          }) == "poll 2\n  -\n  IN \n  -\n  -\n  IN \npoll 3\n  IN \n  IN \n  -\n  -\n  IN \n");
}

TEST_CASE("poll for nothing is woken by a hang-up, and POLLRDHUP only if asked for") {
    native_diff([](stage& on) {
        const auto [a, b] = tcp_pair(on);
        auto closing = on.start([&, last = b] {
            on.until_waiting();
            must(::shutdown(last, SHUT_WR));
        });
        poll_and_note(on, {{a, POLLRDHUP}}, -1);
        closing.join();
        poll_and_note(on, {{a, 0}}, 5);
        const auto pipe = make_pipe(on);
        auto again = on.start([&, last = pipe.b] {
            on.until_waiting();
            on.close(last);
        });
        poll_and_note(on, {{pipe.a, 0}}, -1);
    });
}

TEST_CASE("poll is woken by room to write and by urgent data") {
    native_diff([](stage& on) {
        const auto [reader, writer] = make_pipe(on);
        const auto filled = fill(writer);
        auto emptying = on.start([&, from = reader] {
            on.until_waiting();
            read_exactly(from, filled);
        });
        poll_and_note(on, {{writer, POLLOUT}}, -1);
        emptying.join();
        const auto [a, b] = tcp_pair(on);
        auto sending = on.start([&, to = b] {
            on.until_waiting();
            must(::send(to, "!", 1, MSG_OOB));
        });
        poll_and_note(on, {{a, POLLPRI}}, -1);
        char byte;
        on.record("urgent", [&] { return ::recv(a, &byte, 1, MSG_OOB); });
        on.record("urgent", [&] { return ::recv(a, &byte, 1, MSG_OOB); });
    });
}

TEST_CASE("poll with many descriptors") {
    CHECK(native_diff([](stage& on) {
              std::vector<pollfd> items;
              std::vector<int> others;
              for (int i = 0; i < 300; ++i) {
                  const auto [a, b] = unix_pair(on);
                  items.push_back({.fd = a, .events = POLLIN, .revents = 0});
                  others.push_back(b);
              }
              auto feeding = on.start([&] {
                  on.until_waiting();
                  must(::write(others[257], "x", 1));
              });
              on.record("poll", [&] { return ::poll(items.data(), items.size(), -1); });
              on.note(items[257].revents == POLLIN, items[256].revents);
          }) == "poll 1\n1 0\n");
}

TEST_CASE("poll with bad arguments") {
    CHECK(native_diff([](stage& on) {
              pollfd item{.fd = -1, .events = 0, .revents = 0};
              timespec time{.tv_sec = 0, .tv_nsec = 1'000'000'000};
              on.record("ppoll", [&] { return ::ppoll(&item, 1, &time, nullptr); });
              time = {.tv_sec = -1, .tv_nsec = 0};
              on.record("ppoll", [&] { return ::ppoll(&item, 1, &time, nullptr); });
          }) == "ppoll -1 EINVAL\nppoll -1 EINVAL\n");
}

TEST_CASE("poll with bad pointers" * doctest::skip(sanitized)) {
    CHECK(native_diff([](stage& on) {
              on.record("poll", [] { return ::poll(unknown(reinterpret_cast<pollfd*>(8)), 1, 0); });
              on.record("poll", [] { return ::poll(unknown(reinterpret_cast<pollfd*>(8)), 1, 10); });
              pollfd item{.fd = -1, .events = 0, .revents = 0};
              on.record("poll", [&] { return ::poll(&item, unknown<nfds_t>(0x7fffffff), 0); });
          }) == "poll -1 EFAULT\npoll -1 EFAULT\npoll -1 EINVAL\n");
}

TEST_CASE("ppoll takes a time that it leaves alone") {
    CHECK(native_diff([](stage& on) {
              const auto [a, b] = unix_pair(on);
              pollfd item{.fd = a, .events = POLLIN, .revents = 0};
              timespec time{.tv_sec = 0, .tv_nsec = 2'000'000};
              on.record("ppoll", [&] { return ::ppoll(&item, 1, &time, nullptr); });
              on.note(time.tv_nsec);
              time = {};
              on.record("ppoll", [&] { return ::ppoll(&item, 1, &time, nullptr); });
              auto feeding = on.start([&, to = b] {
                  on.until_waiting();
                  must(::write(to, "x", 1));
              });
              sigset_t same;
              ::pthread_sigmask(SIG_SETMASK, nullptr, &same);
              on.record("ppoll", [&] { return ::ppoll(&item, 1, nullptr, &same); });
              on.note(item.revents == POLLIN);
          }) == "ppoll 0\n2000000\nppoll 0\nppoll 1\n1\n");
}

TEST_CASE("a signal that was sent before is taken when ppoll, pselect or epoll_pwait lets it in") {
    const counted_signal counted;
    CHECK(native_diff([](stage& on) {
              const auto [a, b] = unix_pair(on);
              const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
              const auto blocked = mask_with(SIGUSR1, true);
              ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
              const auto open = mask_with(SIGUSR1, false);
              signals_taken = 0;
              const auto send = [&] { must(::syscall(SYS_tgkill, ::getpid(), on.thread(), SIGUSR1)); };

              pollfd item{.fd = a, .events = POLLIN, .revents = 0};
              send();
              on.record("ppoll", [&] { return ::ppoll(&item, 1, nullptr, &open); });
              on.note(signals_taken);
              fd_set set;
              FD_ZERO(&set);
              FD_SET(a, &set);
              send();
              on.record("pselect", [&] { return ::pselect(a + 1, &set, nullptr, nullptr, nullptr, &open); });
              on.note(signals_taken);
              epoll_event event;
              send();
              on.record("epoll_pwait", [&] { return ::epoll_pwait(epoll, &event, 1, -1, &open); });
              on.note(signals_taken);
          }) == "ppoll -1 EINTR\n1\npselect -1 EINTR\n2\nepoll_pwait -1 EINTR\n3\n");
}

TEST_CASE("a signal that nobody handles ends epoll_pwait, and neither ppoll nor pselect") {
    CHECK(native_diff([](stage& on) {
              const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
              const auto blocked = mask_with(SIGURG, true);
              ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
              const auto open = mask_with(SIGURG, false);
              const auto send = [&] { must(::syscall(SYS_tgkill, ::getpid(), on.thread(), SIGURG)); };
              const timespec time{.tv_sec = 0, .tv_nsec = 1'000'000};
              epoll_event event;
              send();
              on.record("ppoll", [&] { return ::ppoll(nullptr, 0, &time, &open); });
              send();
              on.record("pselect", [&] { return ::pselect(0, nullptr, nullptr, nullptr, &time, &open); });
              send();
              on.record("epoll_pwait", [&] { return ::epoll_pwait(epoll, &event, 1, -1, &open); });
              send();
              on.record("epoll_pwait2", [&] { return ::epoll_pwait2(epoll, &event, 1, &time, &open); });
          }) == "ppoll 0\npselect 0\nepoll_pwait -1 EINTR\nepoll_pwait2 -1 EINTR\n");
}

TEST_CASE("waiting with another signal mask") {
    CHECK(native_diff([](stage& on) {
              const auto [a, b] = unix_pair(on);
              const auto mask = mask_with(SIGUSR1, true);
              auto feeding = on.start([&, to = b] {
                  on.until_waiting();
                  must(::write(to, "x", 1));
              });
              pollfd item{.fd = a, .events = POLLIN, .revents = 0};
              timespec time{.tv_sec = 0, .tv_nsec = 2'000'000};
              on.record("ppoll", [&] { return ::ppoll(&item, 1, nullptr, &mask); });
              fd_set set;
              FD_ZERO(&set);
              FD_SET(a, &set);
              on.record("pselect", [&] { return ::pselect(a + 1, &set, nullptr, nullptr, nullptr, &mask); });
              feeding.join();
              char byte;
              must(::read(a, &byte, 1));
              on.record("ppoll", [&] { return ::ppoll(&item, 1, &time, &mask); });
              on.record("pselect", [&] { return ::pselect(a + 1, &set, nullptr, nullptr, &time, &mask); });
          }) == "ppoll 1\npselect 1\nppoll 0\npselect 0\n");
}

// ---- select ---------------------------------------------------------------------------------------------------------

TEST_CASE("select reports three sets and the time that is left") {
    CHECK(native_diff([](stage& on) {
              const auto x = unix_pair(on);
              const auto y = unix_pair(on);
              fd_set readable;
              fd_set writable;
              fd_set exceptional;
              FD_ZERO(&readable);
              FD_ZERO(&writable);
              FD_ZERO(&exceptional);
              for (const int each : {x.a, y.a}) {
                  FD_SET(each, &readable);
                  FD_SET(each, &exceptional);
              }
              FD_SET(x.b, &writable);
              const int count = 1 + std::max({x.a, x.b, y.a, y.b});
              must(::write(y.b, "x", 1));
              timeval time{.tv_sec = 100, .tv_usec = 0};
              on.record("select", [&] { return ::select(count, &readable, &writable, &exceptional, &time); });
              on.note(FD_ISSET(x.a, &readable) != 0, FD_ISSET(y.a, &readable) != 0, FD_ISSET(x.b, &writable) != 0,
                      FD_ISSET(x.a, &exceptional) != 0);
              on.note(time.tv_sec == 99 || time.tv_sec == 100);

              auto feeding = on.start([&] {
                  on.until_waiting();
                  ::usleep(20'000);
                  must(::write(x.b, "x", 1));
              });
              FD_ZERO(&readable);
              FD_SET(x.a, &readable);
              time = {.tv_sec = 100, .tv_usec = 0};
              on.record("select", [&] { return ::select(count, &readable, nullptr, nullptr, &time); });
              on.note(time.tv_sec < 99 || (time.tv_sec == 99 && time.tv_usec <= 980'000),
                      FD_ISSET(x.a, &readable) != 0);
              feeding.join();

              FD_ZERO(&exceptional);
              FD_SET(x.a, &exceptional);
              time = {.tv_sec = 0, .tv_usec = 2000};
              on.record("select", [&] { return ::select(count, nullptr, nullptr, &exceptional, &time); });
              on.note(time.tv_sec, time.tv_usec, FD_ISSET(x.a, &exceptional) != 0);
              time = {.tv_sec = 0, .tv_usec = 0};
              FD_SET(x.a, &exceptional);
              on.record("select", [&] { return ::select(count, nullptr, nullptr, &exceptional, &time); });
              time = {.tv_sec = 0, .tv_usec = 1000};
              on.record("select", [&] { return ::select(0, nullptr, nullptr, nullptr, &time); });
              on.note(time.tv_sec, time.tv_usec);
          }) == "select 2\n0 1 1 0\n1\nselect 1\n1 1\nselect 0\n0 0 0\nselect 0\nselect 0\n0 0\n");
}

TEST_CASE("select with bad arguments") {
    native_diff([](stage& on) {
        const auto [a, b] = unix_pair(on);
        fd_set set;
        FD_ZERO(&set);
        FD_SET(a, &set);
        const int closed = ::dup(a);
        FD_SET(closed, &set);
        ::close(closed);
        timeval time{.tv_sec = 5, .tv_usec = 0};
        on.record("select", [&] { return ::select(closed + 1, &set, nullptr, nullptr, &time); });
        on.record("select", [&] { return ::select(closed + 1, &set, nullptr, nullptr, nullptr); });
        on.record("select", [&] { return ::select(-1, &set, nullptr, nullptr, &time); });
        time = {.tv_sec = -1, .tv_usec = 0};
        on.record("select", [&] { return ::select(a + 1, &set, nullptr, nullptr, &time); });
        time = {.tv_sec = 0, .tv_usec = -1};
        on.record("select", [&] { return ::select(a + 1, &set, nullptr, nullptr, &time); });
        timespec precise{.tv_sec = 0, .tv_nsec = 1'000'000'000};
        on.record("pselect", [&] { return ::pselect(a + 1, &set, nullptr, nullptr, &precise, nullptr); });
        // As many microseconds as one likes.
        FD_ZERO(&set);
        FD_SET(a, &set);
        must(::write(b, "x", 1));
        time = {.tv_sec = 0, .tv_usec = 3'000'000};
        on.record("select", [&] { return ::select(a + 1, &set, nullptr, nullptr, &time); });
    });
}

TEST_CASE("select goes by the number it is given, not by FD_SETSIZE") {
    CHECK(native_diff([](stage& on) {
              const auto [a, b] = make_pipe(on);
              const int high = on.own(::fcntl(a, F_DUPFD_CLOEXEC, 2000));
              std::vector<unsigned long> words(4096 / 64);
              const auto word = static_cast<std::size_t>(high) / 64;
              const auto bit = 1UL << (high % 64);
              words[word] = bit;
              auto* set = reinterpret_cast<fd_set*>(words.data());
              auto feeding = on.start([&, to = b] {
                  on.until_waiting();
                  must(::write(to, "x", 1));
              });
              on.record("select", [&] { return ::select(high + 1, set, nullptr, nullptr, nullptr); });
              on.note(words[word] == bit);
              words[word] = 0;
              timeval time{.tv_sec = 0, .tv_usec = 1000};
              on.record("select", [&] { return ::select(high + 1, set, nullptr, nullptr, &time); });
          }) == "select 1\n1\nselect 0\n");
}

TEST_CASE("select with a number that is larger than its sets touches no memory behind them") {
    // As the kernel, which takes no more than there are descriptors: programs pass getdtablesize().
    CHECK(native_diff([](stage& on) {
              const auto [a, b] = make_pipe(on);
              constexpr std::size_t page = 4096;
              auto* memory = static_cast<char*>(
                  ::mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
              must(::mprotect(memory + 3 * page, page, PROT_NONE));
              auto* set = reinterpret_cast<fd_set*>(memory);
              FD_SET(a, set);
              auto feeding = on.start([&, to = b] {
                  on.until_waiting();
                  must(::write(to, "x", 1));
              });
              on.record("select", [&] { return ::select(1 << 20, set, nullptr, nullptr, nullptr); });
              on.note(FD_ISSET(a, set) != 0);
              ::munmap(memory, 4 * page);
          }) == "select 1\n1\n");
}

// ---- epoll ----------------------------------------------------------------------------------------------------------

TEST_CASE("epoll_wait in a fiber: level, edge and one shot") {
    CHECK(
        native_diff([](stage& on) {
            const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
            const auto level = unix_pair(on);
            const auto edge = unix_pair(on);
            const auto once = unix_pair(on);
            const auto add = [&](int descriptor, std::uint32_t events, std::uint32_t tag, int operation) {
                epoll_event event{.events = events, .data = {.u32 = tag}};
                must(::epoll_ctl(epoll, operation, descriptor, &event));
            };
            add(level.a, EPOLLIN, 1, EPOLL_CTL_ADD);
            add(edge.a, EPOLLIN | EPOLLET, 2, EPOLL_CTL_ADD);
            add(once.a, EPOLLIN | EPOLLONESHOT, 3, EPOLL_CTL_ADD);
            const auto wait = [&](int timeout) {
                std::array<epoll_event, 8> events{};
                const int count = on.record("wait", [&] {
                    return ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), timeout);
                });
                std::set<std::uint32_t> tags;
                for (int i = 0; i < count; ++i)
                    tags.insert(events[static_cast<std::size_t>(i)].data.u32);
                for (const auto tag : tags)
                    on.note(" ", tag);
            };
            wait(0);
            wait(3);
            auto feeding = on.start([&] {
                on.until_waiting();
                must(::write(level.b, "x", 1));
            });
            wait(-1);
            feeding.join();
            for (const auto& pair : {edge, once})
                must(::write(pair.b, "x", 1));
            wait(1000);
            wait(100); // the level again; the others have been told already
            char byte;
            must(::read(level.a, &byte, 1));
            wait(2);
            for (const auto& pair : {edge, once})
                must(::write(pair.b, "x", 1));
            wait(1000);
            wait(2);
            auto arming = on.start([&] {
                on.until_waiting();
                add(once.a, EPOLLIN | EPOLLONESHOT, 4, EPOLL_CTL_MOD);
            });
            wait(-1);
        }) ==
        "wait 0\nwait 0\nwait 1\n  1\nwait 3\n  1\n  2\n  3\nwait 1\n  1\nwait 0\nwait 1\n  2\nwait 0\nwait 1\n  4\n");
}

TEST_CASE("an epoll descriptor can itself be polled, and waited for by two fibers") {
    CHECK(native_diff([](stage& on) {
              const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
              const auto [a, b] = unix_pair(on);
              epoll_event event{.events = EPOLLIN, .data = {.fd = a}};
              must(::epoll_ctl(epoll, EPOLL_CTL_ADD, a, &event));
              auto feeding = on.start([&, to = b] {
                  on.until_waiting();
                  must(::write(to, "x", 1));
              });
              pollfd item{.fd = epoll, .events = POLLIN, .revents = 0};
              on.record("poll", [&] { return ::poll(&item, 1, -1); });
              feeding.join();
              char byte;
              must(::read(a, &byte, 1));
              const auto wait = [&] {
                  epoll_event found;
                  if (must(::epoll_wait(epoll, &found, 1, -1)) != 1)
                      throw std::runtime_error{"no event"};
              };
              auto first = on.start(wait);
              auto second = on.start(wait);
              on.until_waiting(first.who());
              on.until_waiting(second.who());
              must(::write(b, "x", 1));
              first.join();
              second.join();
          }) == "poll 1\n");
}

TEST_CASE("epoll_wait with bad arguments") {
    CHECK(native_diff([](stage& on) {
              const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
              const auto [a, b] = unix_pair(on);
              epoll_event event;
              on.record("wait", [&] { return ::epoll_wait(-1, &event, 1, 10); });
              on.record("wait", [&] { return ::epoll_wait(1 << 20, &event, 1, 10); });
              on.record("wait", [&] { return ::epoll_wait(a, &event, 1, 10); });
              on.record("wait", [&] { return ::epoll_wait(epoll, &event, 0, 10); });
              on.record("wait", [&] { return ::epoll_wait(epoll, &event, unknown(-1), 10); });
          }) == "wait -1 EBADF\nwait -1 EBADF\nwait -1 EINVAL\nwait -1 EINVAL\nwait -1 EINVAL\n");
}

TEST_CASE("an event loop of one's own runs inside a fiber") {
    CHECK(native_diff([](stage& on) {
              const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
              std::vector<two> pairs;
              for (int i = 0; i < 10; ++i) {
                  pairs.push_back(unix_pair(on));
                  set_nonblocking(pairs.back().a, true);
                  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.fd = pairs.back().a}};
                  must(::epoll_ctl(epoll, EPOLL_CTL_ADD, pairs.back().a, &event));
              }
              std::vector<companion> clients;
              for (const auto& pair : pairs)
                  clients.push_back(on.start([pair] {
                      for (int i = 0; i < 100; ++i) {
                          char byte = 'x';
                          must(::write(pair.b, &byte, 1));
                          must(::read(pair.b, &byte, 1));
                      }
                      ::shutdown(pair.b, SHUT_WR);
                  }));
              int echoed = 0;
              for (std::size_t open = pairs.size(); open > 0;) {
                  std::array<epoll_event, 4> events;
                  const int count = must(::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1));
                  for (int i = 0; i < count; ++i) {
                      const int descriptor = events[static_cast<std::size_t>(i)].data.fd;
                      char bytes[8];
                      ssize_t size;
                      while ((size = ::read(descriptor, bytes, sizeof bytes)) > 0) {
                          must(::write(descriptor, bytes, static_cast<std::size_t>(size)));
                          ++echoed;
                      }
                      if (size == 0) {
                          must(::epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nullptr));
                          --open;
                      }
                  }
              }
              on.note(echoed);
          }) == "1000\n");
}
