// SPDX-License-Identifier: BSL-1.0
// O_NONBLOCK belongs to the program: what it sets is obeyed, and what it has not set it never sees.
#include "another_process.hpp"
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>

namespace {

std::array<char, 8192> room;

const char* flag(int descriptor)
{
    return is_nonblocking(descriptor) ? "O_NONBLOCK" : "blocking";
}

/// EAGAIN at once where the flag is set, and a call that waits once it is cleared again.
void obeys(stage& on, const source& from, const std::function<void(bool)>& set)
{
    set(true);
    on.record("read", [&] { return ::read(from.descriptor, room.data(), from.size); });
    on.note(flag(from.descriptor));
    set(false);
    const auto feeding = on.start([&] {
        on.until_waiting();
        from.feed();
    });
    on.record("read", [&] { return ::read(from.descriptor, room.data(), from.size); });
    on.note(flag(from.descriptor));
}

} // namespace

TEST_CASE("a read that waits never shows O_NONBLOCK, before, meanwhile or after") {
    for (const auto& kind : sources()) {
        CAPTURE(std::string{kind.name});
        native_diff([&](stage& on) {
            const auto from = kind.make(on);
            on.note("before:", flag(from.descriptor));
            const auto feeding = on.start([&] {
                on.until_waiting();
                on.note("meanwhile:", flag(from.descriptor));
                from.feed();
            });
            const auto size = on.record("read", [&] { return ::read(from.descriptor, room.data(), from.size); });
            CHECK(size > 0);
            on.note("after:", flag(from.descriptor));
        });
    }
}

TEST_CASE("a write that waits never shows O_NONBLOCK") {
    const std::vector<std::pair<const char*, std::function<two(stage&)>>> kinds{
        {"tcp", tcp_pair},
        {"unix stream", [](stage& on) { return unix_pair(on); }},
        {"unix datagram", [](stage& on) { return unix_pair(on, SOCK_DGRAM); }},
        {"unix seqpacket", [](stage& on) { return unix_pair(on, SOCK_SEQPACKET); }},
        {"pipe", [](stage& on) { return two{make_pipe(on)}; }},
        {"FIFO", make_fifo},
        {"terminal", make_terminal},
    };
    for (const auto& [name, make] : kinds) {
        CAPTURE(std::string{name});
        native_diff([&](stage& on) {
            const auto [reader, writer] = make(on);
            const auto filled = fill(writer);
            const auto emptying = on.start([&] {
                on.until_waiting();
                on.note("meanwhile:", flag(reader), flag(writer));
                set_nonblocking(reader, true); // the reader's own flag is none of the writer's business
                std::size_t total = 0;
                while (total < filled)
                    if (const auto size = ::read(reader, room.data(), room.size()); size > 0)
                        total += static_cast<std::size_t>(size);
                    else
                        ::sched_yield();
            });
            on.record("write", [&] { return ::write(writer, room.data(), 1024); });
            on.note("after:", flag(writer));
        });
    }
}

TEST_CASE("O_NONBLOCK is obeyed when it is set with fcntl") {
    for (const auto& kind : sources()) {
        CAPTURE(std::string{kind.name});
        native_diff([&](stage& on) {
            const auto from = kind.make(on);
            obeys(on, from, [&](bool set) { set_nonblocking(from.descriptor, set); });
        });
    }
}

TEST_CASE("O_NONBLOCK is obeyed when it is set with FIONBIO") {
    for (const auto& kind : sources()) {
        CAPTURE(std::string{kind.name});
        native_diff([&](stage& on) {
            const auto from = kind.make(on);
            obeys(on, from, [&](bool set) {
                int value = set;
                must(::ioctl(from.descriptor, FIONBIO, &value));
            });
        });
    }
}

TEST_CASE("O_NONBLOCK is obeyed when it is set on a duplicate") {
    for (const auto& kind : sources()) {
        CAPTURE(std::string{kind.name});
        native_diff([&](stage& on) {
            const auto from = kind.make(on);
            const int duplicate = on.own(::dup(from.descriptor));
            obeys(on, from, [&](bool set) { set_nonblocking(duplicate, set); });
        });
    }
}

TEST_CASE("O_NONBLOCK is obeyed when another process sets it") {
    for (const auto& kind : sources()) {
        CAPTURE(std::string{kind.name});
        native_diff([&](stage& on) {
            const auto from = kind.make(on);
            obeys(on, from, [&](bool set) { in_another_process([&] { set_nonblocking(from.descriptor, set); }); });
        });
    }
}

TEST_CASE("O_NONBLOCK is obeyed when the descriptor was made with it") {
    CHECK(native_diff([](stage& on) {
              char byte[8];
              const auto reads = [&](const char* label, int descriptor) {
                  on.record(label, [&] { return ::read(descriptor, byte, sizeof byte); });
                  on.note(flag(descriptor));
              };
              int ends[2];
              must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
              on.own(ends[1]);
              reads("socketpair", on.own(ends[0]));
              must(::pipe2(ends, O_NONBLOCK | O_CLOEXEC));
              on.own(ends[1]);
              reads("pipe2", on.own(ends[0]));
              reads("socket", on.own(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
              reads("eventfd", on.own(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)));
              reads("timerfd", on.own(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)));
          }) == "socketpair -1 EAGAIN\nO_NONBLOCK\npipe2 -1 EAGAIN\nO_NONBLOCK\nsocket -1 EAGAIN\nO_NONBLOCK\n"
                "eventfd -1 EAGAIN\nO_NONBLOCK\ntimerfd -1 EAGAIN\nO_NONBLOCK\n");
}

TEST_CASE("accept4 makes a non-blocking descriptor if asked to, and accept does not inherit the listener's flag") {
    CHECK(native_diff([](stage& on) {
              const auto listener = listen_tcp(on);
              connect_to(on, listener);
              connect_to(on, listener);
              char byte;
              const int asked = on.own(::accept4(listener.descriptor, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
              on.record("read", [&] { return ::read(asked, &byte, 1); });
              set_nonblocking(listener.descriptor, true);
              const int plain = on.own(::accept(listener.descriptor, nullptr, nullptr));
              on.note(flag(plain));
              on.record("accept", [&] { return ::accept(listener.descriptor, nullptr, nullptr); });
              on.record("accept4", [&] { return ::accept4(listener.descriptor, nullptr, nullptr, 0); });
              on.note(flag(listener.descriptor));
          }) == "read -1 EAGAIN\nblocking\naccept -1 EAGAIN\naccept4 -1 EAGAIN\nO_NONBLOCK\n");
}

TEST_CASE("every call on a non-blocking socket returns EAGAIN where it would have to wait") {
    CHECK(native_diff([](stage& on) {
              const auto [ours, theirs] = unix_pair(on);
              fill(ours);
              set_nonblocking(ours, true);
              char bytes[64];
              iovec parts[2]{{bytes, 32}, {bytes + 32, 32}};
              msghdr message{};
              message.msg_iov = parts;
              message.msg_iovlen = 2;
              on.record("read", [&] { return ::read(ours, bytes, sizeof bytes); });
              on.record("readv", [&] { return ::readv(ours, parts, 2); });
              on.record("recv", [&] { return ::recv(ours, bytes, sizeof bytes, 0); });
              on.record("recv all", [&] { return ::recv(ours, bytes, sizeof bytes, MSG_WAITALL); });
              on.record("recv peek", [&] { return ::recv(ours, bytes, sizeof bytes, MSG_PEEK); });
              on.record("recvfrom", [&] { return ::recvfrom(ours, bytes, sizeof bytes, 0, nullptr, nullptr); });
              on.record("recvmsg", [&] { return ::recvmsg(ours, &message, 0); });
              on.record("write", [&] { return ::write(ours, bytes, sizeof bytes); });
              on.record("writev", [&] { return ::writev(ours, parts, 2); });
              on.record("send", [&] { return ::send(ours, bytes, sizeof bytes, 0); });
              on.record("sendto", [&] { return ::sendto(ours, bytes, sizeof bytes, 0, nullptr, 0); });
              on.record("sendmsg", [&] { return ::sendmsg(ours, &message, 0); });
              on.note(flag(ours));
          }) == "read -1 EAGAIN\nreadv -1 EAGAIN\nrecv -1 EAGAIN\nrecv all -1 EAGAIN\nrecv peek -1 EAGAIN\n"
                "recvfrom -1 EAGAIN\nrecvmsg -1 EAGAIN\nwrite -1 EAGAIN\nwritev -1 EAGAIN\nsend -1 EAGAIN\n"
                "sendto -1 EAGAIN\nsendmsg -1 EAGAIN\nO_NONBLOCK\n");
}

TEST_CASE("MSG_DONTWAIT never waits") {
    CHECK(native_diff([](stage& on) {
              const auto [ours, theirs] = unix_pair(on);
              fill(ours);
              char bytes[64];
              iovec part{bytes, sizeof bytes};
              msghdr message{};
              message.msg_iov = &part;
              message.msg_iovlen = 1;
              on.record("recv", [&] { return ::recv(ours, bytes, sizeof bytes, MSG_DONTWAIT); });
              on.record("recv all", [&] { return ::recv(ours, bytes, sizeof bytes, MSG_DONTWAIT | MSG_WAITALL); });
              on.record("recvfrom",
                        [&] { return ::recvfrom(ours, bytes, sizeof bytes, MSG_DONTWAIT, nullptr, nullptr); });
              on.record("recvmsg", [&] { return ::recvmsg(ours, &message, MSG_DONTWAIT); });
              on.record("send", [&] { return ::send(ours, bytes, sizeof bytes, MSG_DONTWAIT); });
              on.record("sendto", [&] { return ::sendto(ours, bytes, sizeof bytes, MSG_DONTWAIT, nullptr, 0); });
              on.record("sendmsg", [&] { return ::sendmsg(ours, &message, MSG_DONTWAIT); });
              must(::write(theirs, "abc", 3));
              on.record("recv all", [&] { return ::recv(ours, bytes, sizeof bytes, MSG_DONTWAIT | MSG_WAITALL); });
          }) == "recv -1 EAGAIN\nrecv all -1 EAGAIN\nrecvfrom -1 EAGAIN\nrecvmsg -1 EAGAIN\nsend -1 EAGAIN\n"
                "sendto -1 EAGAIN\nsendmsg -1 EAGAIN\nrecv all 3\n");
}

TEST_CASE("a large write on a non-blocking pipe or socket writes what there is room for") {
    CHECK(native_diff([](stage& on) {
              const std::vector<char> much(1 << 20);
              const auto pipe = make_pipe(on);
              set_nonblocking(pipe.b, true);
              on.record("write", [&] { return ::write(pipe.b, much.data(), much.size()); });
              on.record("write", [&] { return ::write(pipe.b, much.data(), much.size()); });
              const auto sockets = unix_pair(on);
              set_nonblocking(sockets.a, true);
              on.note(::write(sockets.a, much.data(), much.size()) > 0 ? "some" : "none");
              on.record("write", [&] { return ::write(sockets.a, much.data(), much.size()); });
          }) == "write 65536\nwrite -1 EAGAIN\nsome\nwrite -1 EAGAIN\n");
}

TEST_CASE("files and devices that never wait are read and written as they are") {
    CHECK(native_diff([](stage& on) {
              char bytes[16] = "0123456789abcde";
              const int file = make_file(on, "contents");
              const int null = on.own(::open("/dev/null", O_RDWR | O_CLOEXEC));
              const int zero = on.own(::open("/dev/zero", O_RDWR | O_CLOEXEC));
              const int directory = on.own(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
              const int epoll = on.own(::epoll_create1(EPOLL_CLOEXEC));
              for (const int descriptor : {file, null, zero, directory, epoll}) {
                  on.record("read", [&] { return ::read(descriptor, bytes, sizeof bytes); });
                  on.record("write", [&] { return ::write(descriptor, bytes, sizeof bytes); });
              }
          }) == "read 8\nwrite 16\nread 0\nwrite 16\nread 16\nwrite 16\nread -1 EISDIR\nwrite -1 EBADF\n"
                "read -1 EINVAL\nwrite -1 EINVAL\n");
}
