// SPDX-License-Identifier: BSL-1.0
// poll, select, epoll_wait and their kin, asked about random descriptors, for random times and with random signal
// masks: in a fiber as on a thread.
#include "descriptors.hpp"
#include "random.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace {

/// What is written to a terminal arrives when the kernel's worker has run.
void until_readable(int descriptor)
{
    pollfd item{.fd = descriptor, .events = POLLIN, .revents = 0};
    if (must(::poll(&item, 1, 10'000)) == 0)
        preparation_failed();
}

int make_timer(stage& on, generator& random)
{
    const int timer = on.own(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    const itimerspec past{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
    const itimerspec far{.it_interval = {}, .it_value = {.tv_sec = 3600, .tv_nsec = 0}};
    const int state = below(random, 3);
    if (state != 2)
        must(::timerfd_settime(timer, 0, state == 0 ? &past : &far, nullptr));
    if (state == 0)
        until_readable(timer);
    return timer;
}

/// Made in the same order in both runs, so that the numbers of the descriptors do not matter.
std::vector<int> random_descriptors(stage& on, generator& random)
{
    std::vector<int> all;
    const auto add = [&](two ends) {
        const int state = below(random, 6);
        if (state == 0)
            must(::write(ends.b, "x", 1));
        if (state == 1)
            on.close(ends.b);
        if (state == 2)
            fill(ends.b);
        all.push_back(ends.a);
        if (state != 1)
            all.push_back(ends.b);
    };
    const auto add_terminal = [&](two ends) {
        const int state = below(random, 6);
        if (state == 0 || state == 1) {
            must(::write(state == 0 ? ends.a : ends.b, "x", 1));
            until_readable(state == 0 ? ends.b : ends.a);
        }
        if (state == 2 || state == 3)
            on.close(state == 2 ? ends.a : ends.b);
        if (state != 2)
            all.push_back(ends.a);
        if (state != 3)
            all.push_back(ends.b);
    };
    for (int count = 1 + below(random, 6); count > 0; --count)
        switch (below(random, 12)) {
        case 0: add(tcp_pair(on)); break;
        case 1: add(unix_pair(on)); break;
        case 2: add(unix_pair(on, SOCK_DGRAM)); break;
        case 3: add(unix_pair(on, SOCK_SEQPACKET)); break;
        case 4: add(make_pipe(on)); break;
        case 5: all.push_back(make_file(on, "text")); break;
        case 6: all.push_back(on.own(::eventfd(static_cast<unsigned>(below(random, 2)), EFD_CLOEXEC))); break;
        case 7: all.push_back(on.own(::open("/dev/null", O_RDWR | O_CLOEXEC))); break;
        case 8: all.push_back(listen_tcp(on).descriptor); break;
        case 9: add_terminal(make_terminal(on)); break;
        case 10: all.push_back(make_timer(on, random)); break;
        case 11: {
            const auto [a, b] = udp_pair(on);
            if (one_in(random, 2)) {
                must(::write(b, "x", 1));
                until_readable(a);
            }
            all.insert(all.end(), {a, b});
            break;
        }
        }
    return all;
}

short random_events(generator& random)
{
    return static_cast<short>(some_of(random, {POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM, POLLWRNORM}, 3));
}

timespec random_time(generator& random)
{
    if (one_in(random, 12))
        return {.tv_sec = below(random, 2) - 1, .tv_nsec = 1'000'000'000};
    return {.tv_sec = 0, .tv_nsec = below(random, 3) * 700'000};
}

/// `mask`: for ppoll, if not null; else it is poll.
void poll_at_random(stage& on, generator& random, const std::vector<int>& descriptors, const sigset_t* mask = nullptr,
                    bool with_mask = false)
{
    std::vector<pollfd> items;
    for (int count = below(random, 12); count > 0; --count) {
        int descriptor = one_of(random, descriptors);
        if (one_in(random, 12))
            descriptor = -1 - below(random, 100);
        if (one_in(random, 12))
            descriptor = 1 << 20; // closed
        items.push_back({.fd = descriptor, .events = random_events(random), .revents = 0x7fff});
    }
    if (with_mask) {
        auto time = random_time(random);
        on.record("ppoll", [&] { return ::ppoll(items.data(), items.size(), &time, mask); });
    } else {
        const int timeout = below(random, 3);
        on.record("poll", [&] { return ::poll(items.data(), items.size(), timeout); });
    }
    for (const auto& item : items)
        on.note(" ", item.events, item.revents);
}

void select_at_random(stage& on, generator& random, const std::vector<int>& descriptors, const sigset_t* mask = nullptr,
                      bool with_mask = false)
{
    fd_set sets[3];
    const bool present[3]{!one_in(random, 4), !one_in(random, 4), !one_in(random, 4)};
    const bool bad = one_in(random, 10);
    int last = 0;
    for (auto& set : sets) {
        FD_ZERO(&set);
        for (const int descriptor : descriptors)
            if (one_in(random, 3)) {
                FD_SET(descriptor, &set);
                last = std::max(last, descriptor);
            }
    }
    if (bad) {
        last = 1000;
        FD_SET(last, &sets[0]);
    }
    const auto argument = [&](int which) { return present[which] ? &sets[which] : nullptr; };
    if (with_mask) {
        auto time = random_time(random);
        const auto before = time;
        on.record("pselect", [&] { return ::pselect(last + 1, argument(0), argument(1), argument(2), &time, mask); });
        on.note(time.tv_sec == before.tv_sec, time.tv_nsec == before.tv_nsec);
    } else {
        timeval time{.tv_sec = 0, .tv_usec = below(random, 2) * 700};
        on.record("select", [&] { return ::select(last + 1, argument(0), argument(1), argument(2), &time); });
        on.note(time.tv_sec, time.tv_usec <= 700);
    }
    for (const auto& set : sets) {
        std::string text;
        for (const int descriptor : descriptors)
            text += FD_ISSET(descriptor, &set) ? '1' : '0';
        on.note(" ", text);
    }
}

void epoll_at_random(stage& on, generator& random, const std::vector<int>& descriptors, const sigset_t* mask = nullptr,
                     bool with_mask = false)
{
    const int epoll = must(::epoll_create1(EPOLL_CLOEXEC));
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
        std::uint32_t events = static_cast<unsigned short>(random_events(random));
        if (one_in(random, 3))
            events |= EPOLLET;
        if (one_in(random, 3))
            events |= EPOLLONESHOT;
        epoll_event event{.events = events, .data = {.u64 = i}};
        on.record("ctl", [&] { return ::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptors[i], &event); });
    }
    for (int round = 0; round < 2; ++round) {
        epoll_event events[16];
        int count = 0;
        if (with_mask && one_in(random, 2)) {
            auto time = random_time(random);
            count = on.record("pwait2", [&] { return ::epoll_pwait2(epoll, events, 16, &time, mask); });
        } else {
            const int timeout = below(random, 3);
            count = with_mask ? on.record("pwait", [&] { return ::epoll_pwait(epoll, events, 16, timeout, mask); })
                              : on.record("wait", [&] { return ::epoll_wait(epoll, events, 16, timeout); });
        }
        std::sort(events, events + std::max(count, 0),
                  [](const epoll_event& a, const epoll_event& b) { return a.data.u64 < b.data.u64; });
        for (int i = 0; i < count; ++i)
            on.note(" ", events[i].data.u64, events[i].events);
    }
    ::close(epoll);
}

// ---- signals --------------------------------------------------------------------------------------------------------

const std::array some_signals{SIGUSR1, SIGUSR2, SIGURG, SIGRTMIN, SIGWINCH};

std::array<std::atomic<int>, 5> handled;

/// Handlers that count, for all but SIGWINCH, which is ignored as ever.
class counted_signals {
public:
    counted_signals()
    {
        struct sigaction action {};
        action.sa_handler = [](int signal) {
            ++handled[static_cast<std::size_t>(std::ranges::find(some_signals, signal) - some_signals.begin())];
        };
        for (std::size_t i = 0; i + 1 < some_signals.size(); ++i) {
            action.sa_flags = i % 2 ? SA_RESTART : 0;
            ::sigaction(some_signals[i], &action, &before_[i]);
        }
    }
    counted_signals(const counted_signals&) = delete;
    counted_signals& operator=(const counted_signals&) = delete;
    ~counted_signals()
    {
        for (std::size_t i = 0; i + 1 < some_signals.size(); ++i)
            ::sigaction(some_signals[i], &before_[i], nullptr);
    }

private:
    struct sigaction before_[std::tuple_size_v<decltype(handled)>];
};

sigset_t random_mask(generator& random)
{
    sigset_t mask;
    sigemptyset(&mask);
    for (const int each : some_signals)
        if (one_in(random, 2))
            sigaddset(&mask, each);
    return mask;
}

/// Some signals are blocked, some are pending, and a call lets some in.
void with_masks_at_random(stage& on, generator& random, const std::vector<int>& descriptors)
{
    const auto blocked = random_mask(random);
    ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
    for (const int each : some_signals)
        if (one_in(random, 4))
            must(::syscall(SYS_tgkill, ::getpid(), on.thread(), each));
    const auto mask = random_mask(random);
    const auto* const given = one_in(random, 4) ? nullptr : &mask;
    switch (below(random, 3)) {
    case 0: poll_at_random(on, random, descriptors, given, true); break;
    case 1: select_at_random(on, random, descriptors, given, true); break;
    case 2: epoll_at_random(on, random, descriptors, given, true); break;
    }
    sigset_t now;
    sigset_t pending;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
    ::sigpending(&pending);
    for (std::size_t i = 0; i < some_signals.size(); ++i)
        on.note(" signal", i, sigismember(&now, some_signals[i]), sigismember(&pending, some_signals[i]),
                handled[i].exchange(0));
    // What is left is delivered now.
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    for (auto& each : handled)
        on.note(" ", each.exchange(0));
}

} // namespace

TEST_CASE("random descriptors are as ready in a fiber as on a thread") {
    native_diff_at_random(150, [](stage& on, generator& random) {
        const auto descriptors = random_descriptors(on, random);
        for (int i = 0; i < 4; ++i) {
            poll_at_random(on, random, descriptors);
            select_at_random(on, random, descriptors);
            epoll_at_random(on, random, descriptors);
        }
    });
}

TEST_CASE("random signal masks let in the same signals in a fiber as on a thread") {
    const counted_signals counting;
    native_diff_at_random(100, [](stage& on, generator& random) {
        const auto descriptors = random_descriptors(on, random);
        for (int i = 0; i < 8; ++i)
            with_masks_at_random(on, random, descriptors);
    });
}
