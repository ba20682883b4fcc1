// SPDX-License-Identifier: BSL-1.0
// recvmmsg and sendmmsg; and SO_RCVLOWAT, which says how much a receiving call waits for.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <numeric>

namespace {

/// Several messages with a buffer each.
class messages {
public:
    explicit messages(std::size_t count, std::size_t size = 16)
        : texts_(count, std::string(size, '\0')), parts_(count), headers_(count)
    {
        for (std::size_t i = 0; i < count; ++i) {
            parts_[i] = {texts_[i].data(), texts_[i].size()};
            headers_[i] = {};
            headers_[i].msg_hdr.msg_iov = &parts_[i];
            headers_[i].msg_hdr.msg_iovlen = 1;
        }
    }
    mmsghdr* data() { return headers_.data(); }
    unsigned count() const { return static_cast<unsigned>(headers_.size()); }
    std::string& text(std::size_t number) { return texts_[number]; }
    mmsghdr& header(std::size_t number) { return headers_[number]; }
    void resize(std::size_t number, std::size_t size)
    {
        texts_[number].resize(size, 'x');
        parts_[number] = {texts_[number].data(), size};
    }

private:
    std::vector<std::string> texts_;
    std::vector<iovec> parts_;
    std::vector<mmsghdr> headers_;
};

void receive_many(stage& on, int socket, unsigned count, int flags, timespec* limit = nullptr)
{
    messages all{count};
    const int got = on.record("recvmmsg", [&] { return ::recvmmsg(socket, all.data(), count, flags, limit); });
    for (int i = 0; i < got; ++i) {
        const auto& header = all.header(static_cast<std::size_t>(i));
        on.note(" ", all.text(static_cast<std::size_t>(i)).substr(0, header.msg_len), header.msg_hdr.msg_flags);
    }
}

void low_water(int socket, int bytes)
{
    must(::setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes));
}

} // namespace

TEST_CASE("recvmmsg waits for as many messages as it is asked for, or for the first one only") {
    CHECK(native_diff([](stage& on) {
              const auto [ours, theirs] = unix_pair(on, SOCK_DGRAM);
              auto sending = on.start([&, to = theirs] {
                  on.until_waiting();
                  must(::send(to, "one", 3, 0));
                  on.until_waiting();
                  must(::send(to, "two", 3, 0));
              });
              receive_many(on, ours, 2, 0);
              sending.join();
              auto again = on.start([&, to = theirs] {
                  on.until_waiting();
                  must(::send(to, "three", 5, 0));
              });
              receive_many(on, ours, 4, MSG_WAITFORONE);
              again.join();
              must(::send(theirs, "four", 4, 0));
              must(::send(theirs, "", 0, 0));
              receive_many(on, ours, 4, MSG_WAITFORONE);
              receive_many(on, ours, 4, MSG_DONTWAIT);
              receive_many(on, ours, 0, 0);
          }) == "recvmmsg 2\n  one 0\n  two 0\nrecvmmsg 1\n  three 0\nrecvmmsg 2\n  four 0\n   0\nrecvmmsg -1 "
                "EAGAIN\nrecvmmsg 0\n");
}

TEST_CASE("recvmmsg looks at its time after each message, and refuses what is not a time") {
    CHECK(native_diff([](stage& on) {
              const auto [ours, theirs] = udp_pair(on);
              timespec limit{.tv_sec = 0, .tv_nsec = 1'000'000};
              auto sending = on.start([&, to = theirs] {
                  on.until_waiting(); // whose time has begun by then
                  ::usleep(5000);
                  must(::send(to, "late", 4, 0));
              });
              receive_many(on, ours, 3, 0, &limit);
              sending.join();
              on.note(limit.tv_sec, limit.tv_nsec);
              must(::send(theirs, "a", 1, 0));
              must(::send(theirs, "b", 1, 0));
              limit = {.tv_sec = 3600, .tv_nsec = 0};
              receive_many(on, ours, 2, 0, &limit);
              on.note(limit.tv_sec);
              limit = {.tv_sec = 0, .tv_nsec = 1'000'000'000};
              receive_many(on, ours, 1, 0, &limit);
          }) == "recvmmsg 1\n  late 0\n0 0\nrecvmmsg 2\n  a 0\n  b 0\n3599\nrecvmmsg -1 EINVAL\n");
}

TEST_CASE("recvmmsg on streams, with time-outs, and on what is no socket") {
    CHECK(native_diff([](stage& on) {
              const auto [ours, theirs] = tcp_pair(on);
              must(::send(theirs, "abc", 3, 0));
              set_timeout(ours, SO_RCVTIMEO, 10);
              receive_many(on, ours, 2, 0);
              receive_many(on, ours, 2, 0);
              auto sending = on.start([&, to = theirs] {
                  must(::send(to, std::string(10, 'x').data(), 10, 0));
                  on.until_waiting();
                  must(::send(to, std::string(22, 'y').data(), 22, 0));
              });
              set_timeout(ours, SO_RCVTIMEO, 3'600'000);
              receive_many(on, ours, 2, MSG_WAITALL);
              sending.join();
              on.close(theirs);
              receive_many(on, ours, 2, 0);
              receive_many(on, make_pipe(on).a, 2, 0);
              receive_many(on, -1, 2, 0);
          }) == "recvmmsg 1\n  abc 0\nrecvmmsg -1 EAGAIN\nrecvmmsg 2\n  xxxxxxxxxxyyyyyy 0\n  yyyyyyyyyyyyyyyy 0\n"
                "recvmmsg 2\n   0\n   0\nrecvmmsg -1 ENOTSOCK\nrecvmmsg -1 EBADF\n");
}

TEST_CASE("an error that comes when recvmmsg has something to report is kept for the next call") {
    CHECK(native_diff([](stage& on) {
              const auto [ours, theirs] = udp_pair(on);
              must(::send(theirs, "one", 3, 0));
              auto closing = on.start([&, us = ours, them = theirs] {
                  on.until_waiting();
                  on.close(them);
                  must(::send(us, "x", 1, 0)); // answered by ICMP: nobody is there
              });
              receive_many(on, ours, 2, 0);
              closing.join();
              receive_many(on, ours, 2, 0);
          }) == "recvmmsg 1\n  one 0\nrecvmmsg -1 ECONNREFUSED\n");
}

TEST_CASE("sendmmsg sends all messages, of whatever size, to a slow reader") {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
        CAPTURE(type);
        CHECK(native_diff([&](stage& on) {
                  const auto [ours, theirs] = unix_pair(on, type);
                  shrink_buffers(ours);
                  shrink_buffers(theirs);
                  messages all{40};
                  std::size_t total = 0;
                  for (std::size_t i = 0; i < all.count(); ++i) {
                      all.resize(i, type == SOCK_STREAM ? 1 + i * 3000 : 1 + i * 100);
                      total += all.text(i).size();
                  }
                  std::size_t received = 0;
                  auto reading = on.start([&, from = theirs] {
                      char bytes[5000];
                      while (received < total) {
                          received += static_cast<std::size_t>(must(::recv(from, bytes, sizeof bytes, 0)));
                          ::sched_yield();
                      }
                  });
                  on.record("sendmmsg", [&] { return ::sendmmsg(ours, all.data(), all.count(), 0); });
                  reading.join();
                  bool whole = received == total;
                  for (std::size_t i = 0; i < all.count(); ++i)
                      whole = whole && all.header(i).msg_len == all.text(i).size();
                  on.note(whole);
              }) == "sendmmsg 40\n1\n");
    }
}

TEST_CASE("sendmmsg that cannot go on returns what it has sent, and fails if that is nothing") {
    CHECK(native_diff([](stage& on) {
              const auto [ours, theirs] = unix_pair(on, SOCK_SEQPACKET);
              set_timeout(ours, SO_SNDTIMEO, 10);
              messages few{2};
              on.record("sendmmsg", [&] { return ::sendmmsg(ours, few.data(), 2, MSG_NOSIGNAL); });
              fill(ours);
              on.record("sendmmsg", [&] { return ::sendmmsg(ours, few.data(), 2, MSG_NOSIGNAL); });
              on.record("sendmmsg", [&] { return ::sendmmsg(ours, few.data(), 2, MSG_DONTWAIT); });
              on.close(theirs);
              on.record("sendmmsg", [&] { return ::sendmmsg(ours, few.data(), 2, MSG_NOSIGNAL); });
              on.record("sendmmsg", [&] { return ::sendmmsg(ours, few.data(), 0, 0); });
              on.record("sendmmsg", [&] { return ::sendmmsg(-1, few.data(), 2, 0); });
          }) == "sendmmsg 2\nsendmmsg -1 EAGAIN\nsendmmsg -1 EAGAIN\nsendmmsg -1 ECONNRESET\nsendmmsg 0\nsendmmsg -1 "
                "EBADF\n");
}

TEST_CASE("a read waits for as much as SO_RCVLOWAT says, or for the end") {
    for (const bool tcp : {false, true}) {
        CAPTURE(tcp);
        CHECK(native_diff([&](stage& on) {
                  const auto [ours, theirs] = tcp ? tcp_pair(on) : unix_pair(on);
                  low_water(ours, 8);
                  char bytes[16];
                  const iovec part{bytes, sizeof bytes};
                  // Not in two pieces over TCP: the kernel's own read has taken the first when the second comes, finds
                  // that too little to wake for, and goes on waiting.
                  const auto in_two = [&, to = theirs] {
                      return on.start([&on, to, tcp] {
                          if (!tcp)
                              must(::send(to, "12345", 5, 0));
                          on.until_waiting();
                          must(::send(to, "1234567890", tcp ? 10 : 5, 0));
                      });
                  };
                  {
                      auto sending = in_two();
                      on.record("read", [&] { return ::read(ours, bytes, sizeof bytes); });
                  }
                  {
                      auto sending = in_two();
                      on.record("readv", [&] { return ::readv(ours, &part, 1); });
                  }
                  {
                      auto sending = in_two();
                      on.record("peek", [&] { return ::recv(ours, bytes, sizeof bytes, MSG_PEEK); });
                  }
                  on.record("less", [&] { return ::recv(ours, bytes, 3, 0); });
                  on.record("rest, at once", [&] { return ::recv(ours, bytes, 16, MSG_DONTWAIT); });
                  must(::send(theirs, "123", 3, 0));
                  on.close(theirs);
                  on.record("before the end", [&] { return ::recv(ours, bytes, 16, 0); });
                  on.record("the end", [&] { return ::recv(ours, bytes, 16, 0); });
              }) == std::string{"read 10\nreadv 10\npeek "} + (tcp ? "10" : "5") +
                        "\nless 3\nrest, at once 7\nbefore the end 3\nthe end 0\n");
    }
}

TEST_CASE("SO_RCVLOWAT means nothing to a socket that does not wait, and nothing to datagrams") {
    CHECK(native_diff([](stage& on) {
              const auto [ours, theirs] = unix_pair(on);
              low_water(ours, 8);
              char bytes[16];
              must(::send(theirs, "123", 3, 0));
              set_nonblocking(ours, true);
              on.record("read", [&] { return ::read(ours, bytes, sizeof bytes); });
              on.record("read", [&] { return ::read(ours, bytes, sizeof bytes); });
              set_nonblocking(ours, false);
              set_timeout(ours, SO_RCVTIMEO, 10);
              must(::send(theirs, "123", 3, 0));
              on.record("read", [&] { return ::read(ours, bytes, sizeof bytes); });
              const auto [us, them] = unix_pair(on, SOCK_DGRAM);
              low_water(us, 8);
              must(::send(them, "123", 3, 0));
              on.record("datagram", [&] { return ::read(us, bytes, sizeof bytes); });
          }) == "read 3\nread -1 EAGAIN\nread 3\ndatagram 3\n");
}

TEST_CASE("over TCP too, a fiber's read waits for as much as SO_RCVLOWAT says") {
    CHECK(in_fiber([](stage& on) {
              const auto [ours, theirs] = tcp_pair(on);
              low_water(ours, 8);
              must(::send(theirs, "12345", 5, 0));
              auto sending = on.start([&, to = theirs] {
                  on.until_waiting();
                  must(::send(to, "67890", 5, 0));
              });
              char bytes[16];
              on.record("read", [&] { return ::read(ours, bytes, sizeof bytes); });
          }) == "read 10\n");
}
