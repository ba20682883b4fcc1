// SPDX-License-Identifier: BSL-1.0
// poll, select and epoll_wait asked about random descriptors, and random transfers: in a fiber as on a thread.
#include "descriptors.hpp"

#include <seed.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <random>

namespace {

using generator = std::mt19937_64;

int below(generator& random, int end)
{
    return static_cast<int>(random() % static_cast<unsigned>(end));
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
    for (int count = 1 + below(random, 6); count > 0; --count)
        switch (below(random, 9)) {
        case 0: add(tcp_pair(on)); break;
        case 1: add(unix_pair(on)); break;
        case 2: add(unix_pair(on, SOCK_DGRAM)); break;
        case 3: add(unix_pair(on, SOCK_SEQPACKET)); break;
        case 4: add(make_pipe(on)); break;
        case 5: all.push_back(make_file(on, "text")); break;
        case 6: all.push_back(on.own(::eventfd(static_cast<unsigned>(below(random, 2)), EFD_CLOEXEC))); break;
        case 7: all.push_back(on.own(::open("/dev/null", O_RDWR | O_CLOEXEC))); break;
        case 8: all.push_back(listen_tcp(on).descriptor); break;
        }
    return all;
}

short random_events(generator& random)
{
    short events = 0;
    for (const int each : {POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM, POLLWRNORM})
        if (below(random, 3) == 0)
            events = static_cast<short>(events | each);
    return events;
}

void poll_at_random(stage& on, generator& random, const std::vector<int>& descriptors)
{
    std::vector<pollfd> items;
    for (int count = below(random, 12); count > 0; --count) {
        int descriptor = descriptors[random() % descriptors.size()];
        if (below(random, 12) == 0)
            descriptor = -1 - below(random, 100);
        if (below(random, 12) == 0)
            descriptor = 1 << 20; // closed
        items.push_back({.fd = descriptor, .events = random_events(random), .revents = 0x7fff});
    }
    const int timeout = below(random, 3);
    on.record("poll", [&] { return ::poll(items.data(), items.size(), timeout); });
    for (const auto& item : items)
        on.note(" ", item.events, item.revents);
}

void select_at_random(stage& on, generator& random, const std::vector<int>& descriptors)
{
    fd_set sets[3];
    const bool present[3]{below(random, 4) != 0, below(random, 4) != 0, below(random, 4) != 0};
    const bool bad = below(random, 10) == 0;
    int last = 0;
    for (auto& set : sets) {
        FD_ZERO(&set);
        for (const int descriptor : descriptors)
            if (below(random, 3) == 0) {
                FD_SET(descriptor, &set);
                last = std::max(last, descriptor);
            }
    }
    if (bad) {
        last = 1000;
        FD_SET(last, &sets[0]);
    }
    timeval time{.tv_sec = 0, .tv_usec = below(random, 2) * 700};
    const auto argument = [&](int which) { return present[which] ? &sets[which] : nullptr; };
    on.record("select", [&] { return ::select(last + 1, argument(0), argument(1), argument(2), &time); });
    for (const auto& set : sets) {
        std::string text;
        for (const int descriptor : descriptors)
            text += FD_ISSET(descriptor, &set) ? '1' : '0';
        on.note(" ", text);
    }
    on.note(time.tv_sec, time.tv_usec <= 700);
}

void epoll_at_random(stage& on, generator& random, const std::vector<int>& descriptors)
{
    const int epoll = must(::epoll_create1(EPOLL_CLOEXEC));
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
        std::uint32_t events = static_cast<unsigned short>(random_events(random));
        if (below(random, 3) == 0)
            events |= EPOLLET;
        if (below(random, 3) == 0)
            events |= EPOLLONESHOT;
        epoll_event event{.events = events, .data = {.u64 = i}};
        on.record("ctl", [&] { return ::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptors[i], &event); });
    }
    for (int round = 0; round < 2; ++round) {
        epoll_event events[16];
        const int timeout = below(random, 3);
        const int count = on.record("wait", [&] { return ::epoll_wait(epoll, events, 16, timeout); });
        std::sort(events, events + std::max(count, 0),
                  [](const epoll_event& a, const epoll_event& b) { return a.data.u64 < b.data.u64; });
        for (int i = 0; i < count; ++i)
            on.note(" ", events[i].data.u64, events[i].events);
    }
    ::close(epoll);
}

// ---- transfers ------------------------------------------------------------------------------------------------------

/// Not TCP: how soon and in how many pieces that delivers is up to the kernel.
std::vector<two> random_pairs(stage& on, generator& random)
{
    std::vector<two> all;
    for (int count = 1 + below(random, 3); count > 0; --count)
        switch (below(random, 4)) {
        case 0: all.push_back(unix_pair(on)); break;
        case 1: all.push_back(unix_pair(on, SOCK_DGRAM)); break;
        case 2: all.push_back(unix_pair(on, SOCK_SEQPACKET)); break;
        case 3: all.push_back(make_pipe(on)); break;
        }
    return all;
}

bool is_socket(int descriptor)
{
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

bool ready(int descriptor, short events)
{
    pollfd item{.fd = descriptor, .events = events, .revents = 0};
    return ::poll(&item, 1, 0) != 0;
}

void note_bytes(stage& on, long size, const std::string& bytes)
{
    if (size > 0)
        on.note(" ", std::hash<std::string>{}(bytes.substr(0, static_cast<std::size_t>(size))));
}

void receive_at_random(stage& on, generator& random, int from)
{
    const bool socket = is_socket(from);
    if (!socket && !ready(from, POLLIN))
        return; // would wait for ever, while a socket has its time-out
    std::string bytes(1 + random() % 3000, '\0');
    iovec parts[]{{bytes.data(), bytes.size() / 3}, {bytes.data() + bytes.size() / 3, bytes.size() - bytes.size() / 3}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    mmsghdr several[2]{};
    several[0].msg_hdr = message;
    several[1].msg_hdr.msg_iov = parts;
    several[1].msg_hdr.msg_iovlen = 1;
    int flags = 0;
    for (const int each : {MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT, MSG_TRUNC})
        if (below(random, 4) == 0)
            flags |= each;
    long size = 0;
    switch (below(random, socket ? 6 : 3)) {
    case 0: size = on.record("read", [&] { return ::read(from, bytes.data(), bytes.size()); }); break;
    case 1: size = on.record("readv", [&] { return ::readv(from, parts, 2); }); break;
    case 2: size = on.record("preadv2", [&] { return ::preadv2(from, parts, 2, -1, 0); }); break;
    case 3: size = on.record("recv", [&] { return ::recv(from, bytes.data(), bytes.size(), flags); }); break;
    case 4:
        size = on.record("recvmsg", [&] { return ::recvmsg(from, &message, flags); });
        on.note(" ", message.msg_flags);
        break;
    case 5:
        if (on.record("recvmmsg", [&] { return ::recvmmsg(from, several, 2, flags & MSG_DONTWAIT, nullptr); }) > 0)
            on.note(" ", several[0].msg_len, several[1].msg_len);
        return;
    }
    note_bytes(on, std::min(size, static_cast<long>(bytes.size())), bytes);
}

void send_at_random(stage& on, generator& random, int to)
{
    const bool socket = is_socket(to);
    std::string bytes(1 + random() % (socket ? 20'000 : 2000), '\0');
    std::ranges::generate(bytes, [&] { return static_cast<char>(random()); });
    if (!socket && !ready(to, POLLOUT))
        return;
    const iovec parts[]{{bytes.data(), bytes.size() / 2}, {bytes.data() + bytes.size() / 2, bytes.size() / 3}};
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = 2;
    mmsghdr several[2]{};
    several[0].msg_hdr = several[1].msg_hdr = message;
    const int flags = MSG_NOSIGNAL | (below(random, 3) == 0 ? MSG_DONTWAIT : 0);
    switch (below(random, socket ? 5 : 2)) {
    case 0: on.record("write", [&] { return ::write(to, bytes.data(), bytes.size()); }); break;
    case 1: on.record("writev", [&] { return ::writev(to, parts, 2); }); break;
    case 2: on.record("send", [&] { return ::send(to, bytes.data(), bytes.size(), flags); }); break;
    case 3: on.record("sendmsg", [&] { return ::sendmsg(to, &message, flags); }); break;
    case 4:
        if (on.record("sendmmsg", [&] { return ::sendmmsg(to, several, 2, flags); }) > 0)
            on.note(" ", several[0].msg_len, several[1].msg_len);
        break;
    }
}

} // namespace

TEST_CASE("random descriptors are as ready in a fiber as on a thread") {
    const auto seed = support::seed();
    for (std::uint64_t round = 0; round < 150; ++round) {
        CAPTURE(seed);
        CAPTURE(round);
        native_diff([&](stage& on) {
            generator random{seed + round};
            const auto descriptors = random_descriptors(on, random);
            for (int i = 0; i < 4; ++i) {
                poll_at_random(on, random, descriptors);
                select_at_random(on, random, descriptors);
                epoll_at_random(on, random, descriptors);
            }
        });
    }
}

TEST_CASE("random transfers move the same bytes in a fiber as on a thread") {
    const auto seed = support::seed();
    struct ignored { // writes to who is gone
        void (*before)(int) = ::signal(SIGPIPE, SIG_IGN);
        ~ignored() { ::signal(SIGPIPE, before); }
    } pipe_signal;
    for (std::uint64_t round = 0; round < 60; ++round) {
        CAPTURE(seed);
        CAPTURE(round);
        native_diff([&](stage& on) {
            generator random{seed + round};
            const auto pairs = random_pairs(on, random);
            for (const auto& [a, b] : pairs)
                for (const int each : {a, b})
                    if (is_socket(each)) {
                        set_timeout(each, SO_RCVTIMEO, 1 + below(random, 3));
                        set_timeout(each, SO_SNDTIMEO, 1 + below(random, 3));
                    }
            for (int i = 0; i < 25; ++i) {
                const auto [a, b] = pairs[random() % pairs.size()];
                const bool way = !is_socket(a) || below(random, 2) == 0; // a pipe has but one
                const int kind = below(random, 20);
                if (kind < 10)
                    send_at_random(on, random, way ? b : a);
                else if (kind < 19)
                    receive_at_random(on, random, way ? a : b);
                else if (is_socket(a))
                    on.record("shutdown", [&, end = a] { return ::shutdown(end, SHUT_WR); });
            }
        });
    }
}
