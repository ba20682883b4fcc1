// SPDX-License-Identifier: BSL-1.0
// Random transfers over descriptors of every kind: in a fiber as on a thread.
#include "descriptors.hpp"
#include "random.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace {

/// Writes to who is gone.
struct ignored_pipe_signal {
    ignored_pipe_signal() = default;
    ignored_pipe_signal(const ignored_pipe_signal&) = delete;
    ignored_pipe_signal& operator=(const ignored_pipe_signal&) = delete;
    ~ignored_pipe_signal() { ::signal(SIGPIPE, before); }
    void (*before)(int) = ::signal(SIGPIPE, SIG_IGN);
};

void set_timeouts(generator& random, int socket)
{
    set_timeout(socket, SO_RCVTIMEO, 1 + below(random, 3));
    set_timeout(socket, SO_SNDTIMEO, 1 + below(random, 3));
}

bool ready(int descriptor, short events, int timeout = 0)
{
    pollfd item{.fd = descriptor, .events = events, .revents = 0};
    return ::poll(&item, 1, timeout) != 0;
}

msghdr message_of(scattered& to)
{
    msghdr message{};
    message.msg_iov = to.parts();
    message.msg_iovlen = static_cast<std::size_t>(to.count());
    return message;
}

// ---- pairs ----------------------------------------------------------------------------------------------------------

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

void receive_at_random(stage& on, generator& random, int from)
{
    const bool socket = is_socket(from);
    if (!socket && !ready(from, POLLIN))
        return; // would wait for ever, while a socket has its time-out
    std::string bytes(1 + random() % 3000, '\0');
    scattered to{random, 3000};
    scattered second{random, 3000};
    auto message = message_of(to);
    mmsghdr several[2]{};
    several[0].msg_hdr = message;
    several[1].msg_hdr = message_of(second);
    const int flags = some_of(random, {MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT, MSG_TRUNC}, 4);
    long size = 0;
    switch (below(random, socket ? 7 : 3)) {
    case 0: size = on.record("read", [&] { return ::read(from, bytes.data(), bytes.size()); }); break;
    case 1: on.record("readv", [&] { return ::readv(from, to.parts(), to.count()); }); break;
    case 2: on.record("preadv2", [&] { return ::preadv2(from, to.parts(), to.count(), -1, 0); }); break;
    case 3: size = on.record("recv", [&] { return ::recv(from, bytes.data(), bytes.size(), flags); }); break;
    case 4:
        size = on.record("recvfrom",
                         [&] { return ::recvfrom(from, bytes.data(), bytes.size(), flags, nullptr, nullptr); });
        break;
    case 5:
        on.record("recvmsg", [&] { return ::recvmsg(from, &message, flags); });
        on.note(" ", message.msg_flags);
        break;
    case 6:
        if (on.record("recvmmsg", [&] { return ::recvmmsg(from, several, 2, flags & MSG_DONTWAIT, nullptr); }) > 0)
            on.note(" ", several[0].msg_len, several[1].msg_len);
        note_bytes(on, 1 << 20, second.bytes());
        break;
    }
    note_bytes(on, std::min(size, static_cast<long>(bytes.size())), bytes);
    note_bytes(on, 1 << 20, to.bytes());
}

void send_at_random(stage& on, generator& random, int to)
{
    const bool socket = is_socket(to);
    const std::size_t size_max = socket ? 20'000 : 2000;
    std::string bytes(1 + random() % size_max, '\0');
    std::ranges::generate(bytes, [&] { return static_cast<char>(random()); });
    scattered from{random, size_max};
    from.fill_at_random(random);
    if (!socket && !ready(to, POLLOUT))
        return;
    const auto message = message_of(from);
    mmsghdr several[2]{};
    several[0].msg_hdr = several[1].msg_hdr = message;
    const int flags = MSG_NOSIGNAL | some_of(random, {MSG_DONTWAIT}, 3);
    switch (below(random, socket ? 7 : 3)) {
    case 0: on.record("write", [&] { return ::write(to, bytes.data(), bytes.size()); }); break;
    case 1: on.record("writev", [&] { return ::writev(to, from.parts(), from.count()); }); break;
    case 2: on.record("pwritev2", [&] { return ::pwritev2(to, from.parts(), from.count(), -1, 0); }); break;
    case 3: on.record("send", [&] { return ::send(to, bytes.data(), bytes.size(), flags); }); break;
    case 4: on.record("sendto", [&] { return ::sendto(to, bytes.data(), bytes.size(), flags, nullptr, 0); }); break;
    case 5: on.record("sendmsg", [&] { return ::sendmsg(to, &message, flags); }); break;
    case 6:
        if (on.record("sendmmsg", [&] { return ::sendmmsg(to, several, 2, flags); }) > 0)
            on.note(" ", several[0].msg_len, several[1].msg_len);
        break;
    }
}

// ---- datagrams with addresses ---------------------------------------------------------------------------------------

struct unix_address {
    sockaddr_un name{};
    socklen_t size = 0;
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

/// A few sockets, each with a name that the kernel has chosen.
class post_office {
public:
    post_office(stage& on, generator& random)
    {
        for (int count = 2 + below(random, 3); count > 0; --count) {
            const int socket = on.own(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            const sa_family_t family = AF_UNIX;
            must(::bind(socket, reinterpret_cast<const sockaddr*>(&family), sizeof family));
            set_timeouts(random, socket);
            const int room = 4096;
            must(::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof room));
            unix_address address;
            address.size = sizeof address.name;
            must(::getsockname(socket, reinterpret_cast<sockaddr*>(&address.name), &address.size));
            sockets_.push_back(socket);
            addresses_.push_back(address);
        }
        nobody_.name.sun_family = AF_UNIX;
        std::strcpy(nobody_.name.sun_path + 1, "coir tests: nobody is here");
        nobody_.size = sizeof nobody_.name;
    }

    int any_socket(generator& random) const { return one_of(random, sockets_); }
    const unix_address& any_address(generator& random) const
    {
        return one_in(random, 8) ? nobody_ : one_of(random, addresses_);
    }
    /// Whose address that is; -1 if it is nobody's.
    int number_of(const unix_address& address) const
    {
        for (std::size_t i = 0; i < addresses_.size(); ++i)
            if (address.size == addresses_[i].size &&
                std::memcmp(&address.name, &addresses_[i].name, address.size) == 0)
                return static_cast<int>(i);
        return -1;
    }

private:
    std::vector<int> sockets_;
    std::vector<unix_address> addresses_;
    unix_address nobody_;
};

void post_at_random(stage& on, generator& random, const post_office& office)
{
    const int socket = office.any_socket(random);
    const auto& to = office.any_address(random);
    const bool addressed = !one_in(random, 5);
    const int flags = MSG_NOSIGNAL | some_of(random, {MSG_DONTWAIT}, 3);
    scattered from{random, 3000};
    from.fill_at_random(random);
    const auto bytes = from.bytes();
    auto message = message_of(from);
    if (addressed) {
        message.msg_name = const_cast<sockaddr_un*>(&to.name);
        message.msg_namelen = to.size;
    }
    mmsghdr several[2]{};
    several[0].msg_hdr = several[1].msg_hdr = message;
    switch (below(random, 3)) {
    case 0:
        on.record("sendto", [&] {
            return ::sendto(socket, bytes.data(), bytes.size(), flags, addressed ? to.get() : nullptr,
                            addressed ? to.size : 0);
        });
        break;
    case 1: on.record("sendmsg", [&] { return ::sendmsg(socket, &message, flags); }); break;
    case 2:
        if (on.record("sendmmsg", [&] { return ::sendmmsg(socket, several, 2, flags); }) > 0)
            on.note(" ", several[0].msg_len, several[1].msg_len);
        break;
    }
}

void collect_at_random(stage& on, generator& random, const post_office& office)
{
    const int socket = office.any_socket(random);
    const int flags = some_of(random, {MSG_PEEK, MSG_DONTWAIT, MSG_TRUNC, MSG_WAITALL}, 4);
    unix_address from;
    from.size = one_in(random, 5) ? sizeof(sa_family_t) : static_cast<socklen_t>(sizeof from.name);
    std::string bytes(random() % 3000, '\0');
    scattered to{random, 3000};
    auto message = message_of(to);
    message.msg_name = &from.name;
    message.msg_namelen = from.size;
    mmsghdr one{};
    one.msg_hdr = message;
    long size = 0;
    switch (below(random, 3)) {
    case 0:
        size = on.record("recvfrom", [&] {
            return ::recvfrom(socket, bytes.data(), bytes.size(), flags, reinterpret_cast<sockaddr*>(&from.name),
                              &from.size);
        });
        break;
    case 1:
        size = on.record("recvmsg", [&] { return ::recvmsg(socket, &message, flags); });
        from.size = message.msg_namelen;
        on.note(" ", message.msg_flags);
        break;
    case 2:
        size = on.record("recvmmsg", [&] { return ::recvmmsg(socket, &one, 1, flags, nullptr); });
        from.size = one.msg_hdr.msg_namelen;
        on.note(" ", one.msg_hdr.msg_flags, one.msg_len);
        break;
    }
    on.note(" from", from.size, office.number_of(from));
    note_bytes(on, std::min(size, static_cast<long>(bytes.size())), bytes);
    note_bytes(on, 1 << 20, to.bytes());
}

void connect_at_random(stage& on, generator& random, const post_office& office)
{
    const int socket = office.any_socket(random);
    const auto& peer = office.any_address(random);
    const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
    if (one_in(random, 3))
        on.record("disconnect", [&] { return ::connect(socket, &none, sizeof none.sa_family); });
    else
        on.record("connect", [&] { return ::connect(socket, peer.get(), peer.size); });
}

// ---- terminals ------------------------------------------------------------------------------------------------------

void set_least(int terminal, int bytes, int tenths, bool lines)
{
    termios settings;
    must(::tcgetattr(terminal, &settings));
    settings.c_cc[VMIN] = static_cast<cc_t>(bytes);
    settings.c_cc[VTIME] = static_cast<cc_t>(tenths);
    if (lines) {
        settings.c_lflag |= ICANON;
        settings.c_cc[VEOF] = 4;
        settings.c_cc[VEOL] = 0;
    }
    must(::tcsetattr(terminal, TCSANOW, &settings));
}

/// Bytes arrive when the kernel's worker has run, so each read asks for what is on its way already, and waits for all
/// of it.
void terminal_at_random(stage& on, generator& random, two ends)
{
    std::size_t sent[2]{}; // to the terminal, to its controller
    for (int i = 0; i < 30; ++i) {
        const int way = below(random, 2);
        const int from = way ? ends.a : ends.b;
        const int to = way ? ends.b : ends.a;
        if (sent[way] == 0 || (one_in(random, 2) && sent[way] < 1500)) {
            scattered bytes{random, 500};
            bytes.fill_at_random(random);
            const long size =
                one_in(random, 2)
                    ? on.record("writev", [&] { return ::writev(from, bytes.parts(), bytes.count()); })
                    : on.record("write", [&, all = bytes.bytes()] { return ::write(from, all.data(), all.size()); });
            sent[way] += static_cast<std::size_t>(std::max(size, 0L));
            continue;
        }
        // The terminal itself waits for as much as it is told; its controller takes what there is.
        const auto wanted = 1 + random() % std::min<std::size_t>(sent[way], 200);
        std::string text;
        if (!way)
            set_least(ends.a, static_cast<int>(wanted), 0, false);
        do {
            std::string piece(wanted - text.size(), '\0');
            const auto size = must(::read(to, piece.data(), piece.size()));
            text.append(piece, 0, static_cast<std::size_t>(size));
            if (!way)
                on.note("read", size);
        } while (text.size() < wanted);
        note_bytes(on, static_cast<long>(text.size()), text);
        sent[way] -= wanted;
    }
    set_least(ends.a, 0, below(random, 2), false);
    while (sent[0] > 0) {
        char byte;
        sent[0] -= static_cast<std::size_t>(must(::read(ends.a, &byte, 1)));
    }
    char byte;
    on.record("empty", [&] { return ::read(ends.a, &byte, 1); });
}

void lines_at_random(stage& on, generator& random, two ends)
{
    set_least(ends.a, 1, 0, true);
    for (int i = 0; i < 10; ++i) {
        std::string line(random() % 60, '\0');
        for (auto& each : line)
            each = static_cast<char>('a' + below(random, 26));
        // Ended by a new line; or by the end of file, which ends nothing but this read.
        const bool ended = one_in(random, 4);
        line += ended ? '\4' : '\n';
        must(::write(ends.b, line.data(), line.size()));
        std::size_t left = line.size() - (ended ? 1 : 0);
        do {
            scattered to{random, 40};
            const long size = on.record("readv", [&] { return ::readv(ends.a, to.parts(), to.count()); });
            note_bytes(on, 1 << 20, to.bytes());
            left -= std::min(static_cast<std::size_t>(std::max(size, 0L)), left);
        } while (left > 0);
    }
    ready(ends.a, POLLIN);
}

// ---- event and timer descriptors ------------------------------------------------------------------------------------

constexpr std::uint64_t most = ~std::uint64_t{0} - 1; // of an event descriptor, eventfd(2)

void event_at_random(stage& on, generator& random)
{
    const bool nonblocking = one_in(random, 2);
    const bool semaphore = one_in(random, 2);
    const int event =
        on.own(::eventfd(static_cast<unsigned>(below(random, 3)),
                         EFD_CLOEXEC | (nonblocking ? EFD_NONBLOCK : 0) | (semaphore ? EFD_SEMAPHORE : 0)));
    for (int i = 0; i < 30; ++i) {
        std::uint64_t value = 0;
        iovec halves[]{{&value, 4}, {reinterpret_cast<char*>(&value) + 4, 4}};
        char few[7]{};
        const bool blocked = one_in(random, 6);
        if (one_in(random, 2)) {
            // One that would wait is fed by another, or not made at all.
            std::vector<companion> feeding;
            if (!nonblocking && !ready(event, POLLIN)) {
                if (!blocked)
                    continue;
                feeding.push_back(on.start([&] {
                    on.until_waiting();
                    must(::eventfd_write(event, 3));
                }));
            }
            switch (below(random, 4)) {
            case 0: on.record("read", [&] { return ::read(event, &value, sizeof value); }); break;
            case 1: on.record("readv", [&] { return ::readv(event, halves, 2); }); break;
            case 2: on.record("eventfd_read", [&] { return ::eventfd_read(event, &value); }); break;
            case 3:
                if (feeding.empty())
                    on.record("few", [&] { return ::read(event, few, sizeof few); });
                else
                    on.record("read", [&] { return ::read(event, &value, sizeof value); });
                break;
            }
            on.note(" ", value);
        } else {
            const std::uint64_t values[]{0, 1, 2, most - 3, most, most + 1};
            value = values[below(random, 6)];
            std::vector<companion> emptying;
            const bool full = value == 1 ? !ready(event, POLLOUT) : value != 0 && value <= most && ready(event, POLLIN);
            if (!nonblocking && full) {
                if (!blocked || semaphore)
                    continue;
                emptying.push_back(on.start([&] {
                    on.until_waiting();
                    std::uint64_t all;
                    must(::eventfd_read(event, &all));
                }));
            }
            switch (below(random, 3)) {
            case 0: on.record("write", [&] { return ::write(event, &value, sizeof value); }); break;
            case 1: on.record("eventfd_write", [&] { return ::eventfd_write(event, value); }); break;
            case 2:
                if (emptying.empty())
                    on.record("few", [&] { return ::write(event, few, sizeof few); });
                else
                    on.record("write", [&] { return ::write(event, &value, sizeof value); });
                break;
            }
        }
    }
}

void timer_at_random(stage& on, generator& random)
{
    const bool nonblocking = one_in(random, 3);
    const clockid_t clocks[]{CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    const auto which = clocks[below(random, 3)];
    const int timer = on.own(::timerfd_create(which, TFD_CLOEXEC | (nonblocking ? TFD_NONBLOCK : 0)));
    for (int i = 0; i < 5; ++i) {
        const bool soon = !nonblocking || one_in(random, 2);
        itimerspec time{};
        time.it_value.tv_sec = soon ? 0 : 3600;
        time.it_value.tv_nsec = 1 + below(random, 3) * 900'000;
        int flags = 0;
        if (one_in(random, 3)) {
            timespec now;
            ::clock_gettime(which, &now);
            time.it_value.tv_sec += now.tv_sec;
            flags = TFD_TIMER_ABSTIME; // passed, or in less than a second
            if (!nonblocking)
                time.it_value.tv_nsec = now.tv_nsec;
        }
        on.record("set", [&] { return ::timerfd_settime(timer, flags, &time, nullptr); });
        std::uint64_t expired = 0;
        iovec halves[]{{&expired, 4}, {reinterpret_cast<char*>(&expired) + 4, 4}};
        char few[7]{};
        if (nonblocking && soon)
            ready(timer, POLLIN, 10'000);
        switch (below(random, 4)) {
        case 0: on.record("read", [&] { return ::read(timer, &expired, sizeof expired); }); break;
        case 1: on.record("readv", [&] { return ::readv(timer, halves, 2); }); break;
        case 2: on.record("eventfd_read", [&] { return ::eventfd_read(timer, &expired); }); break;
        case 3: on.record("few", [&] { return ::read(timer, few, sizeof few); }); break;
        }
        on.note(" ", expired);
    }
}

} // namespace

TEST_CASE("random transfers move the same bytes in a fiber as on a thread") {
    const ignored_pipe_signal ignored;
    native_diff_at_random(60, [](stage& on, generator& random) {
        const auto pairs = random_pairs(on, random);
        for (const auto& [a, b] : pairs)
            for (const int each : {a, b})
                if (is_socket(each))
                    set_timeouts(random, each);
        for (int i = 0; i < 25; ++i) {
            const auto [a, b] = one_of(random, pairs);
            const bool way = !is_socket(a) || one_in(random, 2); // a pipe has but one
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

TEST_CASE("random datagrams reach whom they are addressed to in a fiber as on a thread") {
    native_diff_at_random(60, [](stage& on, generator& random) {
        const post_office office{on, random};
        for (int i = 0; i < 40; ++i) {
            const int kind = below(random, 20);
            if (kind < 10)
                post_at_random(on, random, office);
            else if (kind < 18)
                collect_at_random(on, random, office);
            else
                connect_at_random(on, random, office);
        }
    });
}

TEST_CASE("a datagram to who has no room waits until there is some, connected or not") {
    CHECK(native_diff([](stage& on) {
              for (const bool connected : {true, false}) {
                  const int from = on.own(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
                  const int to = on.own(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
                  const sa_family_t family = AF_UNIX;
                  must(::bind(to, reinterpret_cast<const sockaddr*>(&family), sizeof family));
                  unix_address address;
                  address.size = sizeof address.name;
                  must(::getsockname(to, reinterpret_cast<sockaddr*>(&address.name), &address.size));
                  if (connected)
                      must(::connect(from, address.get(), address.size));
                  const auto send = [&](int flags) {
                      return ::sendto(from, "x", 1, flags, connected ? nullptr : address.get(),
                                      connected ? 0 : address.size);
                  };
                  while (send(MSG_DONTWAIT) == 1) {}
                  on.note(stage::error_name(errno));
                  auto reads = on.start([&] {
                      on.until_waiting();
                      char byte;
                      must(::recv(to, &byte, 1, 0));
                  });
                  on.record("sendto", [&] { return send(0); });
                  reads.join();
                  set_timeout(from, SO_SNDTIMEO, 5);
                  on.record("sendto", [&] { return send(0); });
              }
          }) == "EAGAIN\nsendto 1\nsendto -1 EAGAIN\nEAGAIN\nsendto 1\nsendto -1 EAGAIN\n");
}

TEST_CASE("random transfers over a terminal are the same in a fiber as on a thread") {
    native_diff_at_random(25, [](stage& on, generator& random) {
        terminal_at_random(on, random, make_terminal(on));
        lines_at_random(on, random, make_terminal(on));
    });
}

TEST_CASE("random values pass event and timer descriptors in a fiber as on a thread") {
    native_diff_at_random(40, [](stage& on, generator& random) {
        event_at_random(on, random);
        timer_at_random(on, random);
    });
}
