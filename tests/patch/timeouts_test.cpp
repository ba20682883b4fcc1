// SPDX-License-Identifier: BSL-1.0
// SO_RCVTIMEO and SO_SNDTIMEO: the kernel's own limits, which calls that wait obey.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <poll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

namespace {

long timeout_of(int socket, int option)
{
    timeval time{};
    socklen_t size = sizeof time;
    must(::getsockopt(socket, SOL_SOCKET, option, &time, &size));
    return time.tv_sec * 1000 + time.tv_usec / 1000;
}

/// A port where connecting takes for ever: its backlog is full, so the kernel drops what comes.
tcp_listener deaf_listener(stage& on)
{
    const auto listener = listen_tcp(on, 0);
    for (int i = 0; i < 3; ++i) {
        const int descriptor = on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        set_nonblocking(descriptor, true);
        ::connect(descriptor, generic(listener.address), sizeof listener.address);
    }
    return listener;
}

} // namespace

TEST_CASE("SO_RCVTIMEO ends every receiving call with EAGAIN") {
    for (const auto& make :
         {std::function<two(stage&)>{tcp_pair}, {udp_pair}, {[](stage& on) { return unix_pair(on); }}})
        CHECK(native_diff([&](stage& on) {
                  const auto [ours, theirs] = make(on);
                  set_timeout(ours, SO_RCVTIMEO, 30);
                  const auto configured = timeout_of(ours, SO_RCVTIMEO);
                  char bytes[16];
                  iovec part{bytes, sizeof bytes};
                  msghdr message{};
                  message.msg_iov = &part;
                  message.msg_iovlen = 1;
                  on.record("read", [&] { return ::read(ours, bytes, sizeof bytes); });
                  on.record("readv", [&] { return ::readv(ours, &part, 1); });
                  on.record("recv", [&] { return ::recv(ours, bytes, sizeof bytes, 0); });
                  on.record("recv peek", [&] { return ::recv(ours, bytes, sizeof bytes, MSG_PEEK); });
                  on.record("recv peek all", [&] { return ::recv(ours, bytes, 8, MSG_PEEK | MSG_WAITALL); });
                  on.record("recvfrom", [&] { return ::recvfrom(ours, bytes, 8, 0, nullptr, nullptr); });
                  on.record("recvmsg", [&] { return ::recvmsg(ours, &message, 0); });
                  on.record("recv all", [&] { return ::recv(ours, bytes, 8, MSG_WAITALL); });
                  CHECK(timeout_of(ours, SO_RCVTIMEO) == configured);
                  must(::write(theirs, "abc", 3));
                  on.record("recv", [&] { return ::recv(ours, bytes, sizeof bytes, 0); });
              }) == "read -1 EAGAIN\nreadv -1 EAGAIN\nrecv -1 EAGAIN\nrecv peek -1 EAGAIN\nrecv peek all -1 EAGAIN\n"
                    "recvfrom -1 EAGAIN\nrecvmsg -1 EAGAIN\nrecv all -1 EAGAIN\nrecv 3\n");
}

TEST_CASE("SO_RCVTIMEO ends MSG_WAITALL with what has come") {
    for (const auto& make : {std::function<two(stage&)>{tcp_pair}, {[](stage& on) { return unix_pair(on); }}})
        CHECK(native_diff([&](stage& on) {
                  const auto [ours, theirs] = make(on);
                  set_timeout(ours, SO_RCVTIMEO, 30);
                  char bytes[16];
                  iovec parts[2]{{bytes, 2}, {bytes + 2, 8}};
                  msghdr message{};
                  message.msg_iov = parts;
                  message.msg_iovlen = 2;
                  must(::write(theirs, "abc", 3));
                  on.record("recv", [&] { return ::recv(ours, bytes, 10, MSG_WAITALL); });
                  must(::write(theirs, "abcd", 4));
                  on.record("recvmsg", [&] { return ::recvmsg(ours, &message, MSG_WAITALL); });
                  on.record("nothing left", [&] { return ::recv(ours, bytes, 10, MSG_DONTWAIT); });
              }) == "recv 3\nrecvmsg 4\nnothing left -1 EAGAIN\n");
}

TEST_CASE("SO_RCVTIMEO ends accept") {
    CHECK(native_diff([&](stage& on) {
              const auto listener = listen_tcp(on);
              set_timeout(listener.descriptor, SO_RCVTIMEO, 30);
              on.record("accept", [&] { return ::accept(listener.descriptor, nullptr, nullptr); });
              on.record("accept4", [&] { return ::accept4(listener.descriptor, nullptr, nullptr, 0); });
              CHECK(timeout_of(listener.descriptor, SO_RCVTIMEO) >= 30);
              connect_to(on, listener);
              on.own(on.record_ok("accept", [&] { return ::accept(listener.descriptor, nullptr, nullptr); }));
          }) == "accept -1 EAGAIN\naccept4 -1 EAGAIN\naccept ok\n");
}

TEST_CASE("SO_SNDTIMEO ends a send with what was sent, or else EAGAIN") {
    const std::vector<char> much(16 << 20);
    const auto send_much = [&](stage& on, int writer) {
        set_timeout(writer, SO_SNDTIMEO, 30);
        const auto size = ::send(writer, much.data(), much.size(), 0);
        on.note(size > 0 && size < static_cast<ssize_t>(much.size()) ? "partly" : "not partly");
    };
    CHECK(native_diff([&](stage& on) { send_much(on, tcp_pair(on).a); }) == "partly\n");
    CHECK(native_diff([&](stage& on) {
              const auto [reader, writer] = unix_pair(on);
              send_much(on, writer);
              fill(writer); // the last bits of room
              iovec part{const_cast<char*>(much.data()), much.size()};
              msghdr message{};
              message.msg_iov = &part;
              message.msg_iovlen = 1;
              on.record("send", [&] { return ::send(writer, much.data(), much.size(), 0); });
              on.record("write", [&] { return ::write(writer, much.data(), much.size()); });
              on.record("writev", [&] { return ::writev(writer, &part, 1); });
              on.record("sendmsg", [&] { return ::sendmsg(writer, &message, 0); });
          }) == "partly\nsend -1 EAGAIN\nwrite -1 EAGAIN\nwritev -1 EAGAIN\nsendmsg -1 EAGAIN\n");
}

TEST_CASE("SO_SNDTIMEO ends connect with EINPROGRESS, and a second one with EALREADY") {
    CHECK(native_diff([&](stage& on) {
              const auto listener = deaf_listener(on);
              const int descriptor = on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
              set_timeout(descriptor, SO_SNDTIMEO, 30);
              const auto connect = [&] {
                  return ::connect(descriptor, generic(listener.address), sizeof listener.address);
              };
              on.record("connect", connect);
              on.record("connect", connect);
              on.record("connect", connect);
          }) == "connect -1 EINPROGRESS\nconnect -1 EALREADY\nconnect -1 EALREADY\n");
}

TEST_CASE("poll and select know nothing of SO_RCVTIMEO") {
    CHECK(native_diff([&](stage& on) {
              const auto [ours, theirs] = unix_pair(on);
              set_timeout(ours, SO_RCVTIMEO, 1);
              auto feeding = on.start([&, to = theirs] {
                  on.until_waiting();
                  ::usleep(30'000);
                  must(::write(to, "x", 1));
              });
              pollfd item{.fd = ours, .events = POLLIN, .revents = 0};
              on.record("poll", [&] { return ::poll(&item, 1, -1); });
              fd_set set;
              FD_ZERO(&set);
              FD_SET(ours, &set);
              on.record("select", [&] { return ::select(ours + 1, &set, nullptr, nullptr, nullptr); });
          }) == "poll 1\nselect 1\n");
}

TEST_CASE("a timeout that another sets meanwhile does not concern a call that waits already") {
    CHECK(native_diff([&](stage& on) {
              const auto [ours, theirs] = unix_pair(on);
              auto feeding = on.start([&, reader = ours, to = theirs] {
                  on.until_waiting();
                  set_timeout(reader, SO_RCVTIMEO, 1);
                  ::usleep(30'000);
                  must(::write(to, "x", 1));
              });
              char byte;
              on.record("recv", [&] { return ::recv(ours, &byte, 1, 0); });
              on.record("recv", [&] { return ::recv(ours, &byte, 1, 0); });
          }) == "recv 1\nrecv -1 EAGAIN\n");
}
