// SPDX-License-Identifier: BSL-1.0
// read, write and their relatives: how much, in which pieces, and what happens at the edges.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <numeric>

namespace {

std::vector<char> pattern(std::size_t size)
{
    std::vector<char> bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<char>(i * 7 + i / 251);
    return bytes;
}

/// Reads to the end, slowly.
std::vector<char> read_slowly(int descriptor, std::size_t piece = 5000)
{
    std::vector<char> all;
    std::vector<char> bytes(piece);
    for (ssize_t size; (size = must(::read(descriptor, bytes.data(), bytes.size()))) > 0;) {
        all.insert(all.end(), bytes.begin(), bytes.begin() + size);
        ::sched_yield();
    }
    return all;
}

std::atomic<int> pipe_signals{0};

/// Counts SIGPIPE instead of dying of it.
class counted_pipe_signals {
public:
    counted_pipe_signals()
    {
        pipe_signals = 0;
        struct sigaction action = {};
        action.sa_handler = [](int) { ++pipe_signals; };
        ::sigaction(SIGPIPE, &action, &before_);
    }
    counted_pipe_signals(const counted_pipe_signals&) = delete;
    counted_pipe_signals& operator=(const counted_pipe_signals&) = delete;
    ~counted_pipe_signals() { ::sigaction(SIGPIPE, &before_, nullptr); }

private:
    struct sigaction before_ = {};
};

using pair_maker = std::function<two(stage&)>;
const std::vector<std::pair<const char*, pair_maker>> streams{
    {"tcp", tcp_pair},
    {"unix stream", [](stage& on) { return unix_pair(on); }},
    {"pipe", make_pipe},
    {"FIFO", make_fifo},
};

} // namespace

TEST_CASE("a large write to a slow reader returns when all of it is written") {
    const auto sent = pattern(1'000'003);
    for (const auto& [name, make] : streams) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  std::vector<char> received;
                  auto reading = on.start([&] { received = read_slowly(reader); });
                  on.record("write", [&] { return ::write(writer, sent.data(), sent.size()); });
                  on.close(writer);
                  reading.join();
                  on.note(received == sent ? "as sent" : "different");
              }) == "write 1000003\nas sent\n");
    }
}

TEST_CASE("send, sendto, sendmsg and writev return when all of it is sent") {
    const auto sent = pattern(600'000);
    for (const auto& make : {pair_maker{tcp_pair}, pair_maker{[](stage& on) { return unix_pair(on); }}}) {
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  shrink_buffers(writer);
                  std::vector<char> received;
                  auto reading = on.start([&] { received = read_slowly(reader); });
                  auto* data = const_cast<char*>(sent.data());
                  iovec parts[4]{{data, 1}, {data + 1, 0}, {data + 1, 400'000}, {data + 400'001, 199'999}};
                  msghdr message{};
                  message.msg_iov = parts;
                  message.msg_iovlen = 4;
                  on.record("send", [&] { return ::send(writer, data, sent.size(), 0); });
                  on.record("sendto", [&] { return ::sendto(writer, data, sent.size(), MSG_NOSIGNAL, nullptr, 0); });
                  on.record("sendmsg", [&] { return ::sendmsg(writer, &message, 0); });
                  on.record("writev", [&] { return ::writev(writer, parts, 4); });
                  on.note("untouched:", parts[2].iov_base == data + 1, parts[2].iov_len, message.msg_iovlen);
                  on.close(writer);
                  reading.join();
                  on.note(received.size());
                  for (std::size_t i = 0; i < 4; ++i)
                      on.note(std::equal(sent.begin(), sent.end(), received.begin() + static_cast<long>(i * 600'000)));
              }) == "send 600000\nsendto 600000\nsendmsg 600000\nwritev 600000\nuntouched: 1 400000 4\n2400000\n"
                    "1\n1\n1\n1\n");
    }
}

TEST_CASE("as many buffers as the kernel takes are written and read whole, and no more are taken") {
    const auto sent = pattern(IOV_MAX * 97);
    for (const auto& [name, make] : streams) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  auto data = sent;
                  std::vector<iovec> parts(IOV_MAX + 1, iovec{data.data(), 0});
                  for (std::size_t i = 0; i < IOV_MAX; ++i)
                      parts[i] = {data.data() + i * 97, 97};
                  std::vector<char> received;
                  auto reading = on.start([&] { received = read_slowly(reader, 1000); });
                  on.record("writev", [&] { return ::writev(writer, parts.data(), IOV_MAX); });
                  on.record("writev", [&] { return ::writev(writer, parts.data(), IOV_MAX + 1); });
                  on.record("writev", [&] { return ::writev(writer, parts.data(), 0); });
                  on.record("writev", [&] { return ::writev(writer, parts.data(), unknown(-1)); });
                  on.record("readv", [&] { return ::readv(reader, parts.data(), IOV_MAX + 1); });
                  on.close(writer);
                  reading.join();
                  on.note(received == sent ? "as sent" : "different");
              }) == "writev 99328\nwritev -1 EINVAL\nwritev 0\nwritev -1 EINVAL\nreadv -1 EINVAL\nas sent\n");
    }
}

TEST_CASE("readv waits, and then scatters what has come") {
    for (const auto& [name, make] : streams) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  char first[3]{};
                  char second[8]{};
                  const iovec parts[3]{{first, 2}, {nullptr, 0}, {second, 7}};
                  auto feeding = on.start([&] {
                      on.until_waiting();
                      must(::write(writer, "abcdef", 6));
                  });
                  on.record("readv", [&] { return ::readv(reader, parts, 3); });
                  on.note(first, second);
              }) == "readv 6\nab cdef\n");
    }
}

TEST_CASE("a reader that closes midway leaves a partial count, and EPIPE for the next write") {
    const counted_pipe_signals counted;
    const std::vector<char> much(2 << 20);
    for (const auto& [name, make] : streams) {
        CAPTURE(std::string{name});
        native_diff([&](stage& on) {
            const auto [reader, writer] = make(on);
            auto reading = on.start([&] {
                read_exactly(reader, 100'000);
                on.until_waiting();
                on.close(reader);
            });
            pipe_signals = 0;
            const auto size = ::write(writer, much.data(), much.size());
            on.note(size > 0 && size < static_cast<ssize_t>(much.size()) ? "partial" : "not partial");
            reading.join();
            on.note("signals:", pipe_signals);
            on.record("write", [&] { return ::write(writer, "x", 1); });
            on.note("signals:", pipe_signals);
            on.record("write", [&] { return ::write(writer, "x", 1); });
            on.note("signals:", pipe_signals);
        });
    }
}

TEST_CASE("a write to a closed peer is EPIPE, with SIGPIPE unless MSG_NOSIGNAL") {
    const counted_pipe_signals counted;
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = unix_pair(on);
              on.close(reader);
              pipe_signals = 0;
              on.record("send", [&] { return ::send(writer, "x", 1, MSG_NOSIGNAL); });
              on.note(pipe_signals);
              on.record("send", [&] { return ::send(writer, "x", 1, 0); });
              on.note(pipe_signals);
              on.record("write", [&] { return ::write(writer, "x", 1); });
              on.note(pipe_signals);
              const auto [reading, writing] = make_pipe(on);
              on.close(reading);
              on.record("write", [&] { return ::write(writing, "x", 1); });
              on.note(pipe_signals);
          }) == "send -1 EPIPE\n0\nsend -1 EPIPE\n1\nwrite -1 EPIPE\n2\nwrite -1 EPIPE\n3\n");
}

TEST_CASE("a peer that resets the connection is reported once, after what was received") {
    native_diff([](stage& on) {
        const auto [ours, theirs] = tcp_pair(on);
        char bytes[16];
        must(::write(theirs, "abc", 3));
        const linger reset{.l_onoff = 1, .l_linger = 0};
        auto resetting = on.start([&, peer = theirs] {
            on.until_waiting();
            must(::setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
            on.close(peer);
        });
        on.record("recv all", [&] { return ::recv(ours, bytes, sizeof bytes, MSG_WAITALL); });
        on.record("recv", [&] { return ::recv(ours, bytes, sizeof bytes, 0); });
        on.record("recv", [&] { return ::recv(ours, bytes, sizeof bytes, 0); });
    });
}

TEST_CASE("passed descriptors arrive once, however large the payload") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = unix_pair(on);
              const auto sent = pattern(1 << 20);
              const auto passed = make_pipe(on);
              std::size_t descriptors = 0;
              std::vector<char> received;
              auto receiving = on.start([&] {
                  std::vector<char> bytes(10'000);
                  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
                  for (;;) {
                      iovec part{bytes.data(), bytes.size()};
                      msghdr message{};
                      message.msg_iov = &part;
                      message.msg_iovlen = 1;
                      message.msg_control = control;
                      message.msg_controllen = sizeof control;
                      const auto size = must(::recvmsg(reader, &message, MSG_CMSG_CLOEXEC));
                      for (auto* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
                          int descriptor;
                          std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
                          on.own(descriptor);
                          must(::write(descriptor, "through", 7));
                          ++descriptors;
                      }
                      if (size == 0)
                          return;
                      received.insert(received.end(), bytes.begin(), bytes.begin() + size);
                  }
              });
              alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
              iovec part{const_cast<char*>(sent.data()), sent.size()};
              msghdr message{};
              message.msg_iov = &part;
              message.msg_iovlen = 1;
              message.msg_control = control;
              message.msg_controllen = sizeof control;
              auto* header = CMSG_FIRSTHDR(&message);
              header->cmsg_level = SOL_SOCKET;
              header->cmsg_type = SCM_RIGHTS;
              header->cmsg_len = CMSG_LEN(sizeof(int));
              std::memcpy(CMSG_DATA(header), &passed.b, sizeof(int));
              on.record("sendmsg", [&] { return ::sendmsg(writer, &message, 0); });
              on.note("untouched:", message.msg_controllen == sizeof control, part.iov_len);
              on.close(writer);
              receiving.join();
              on.note("descriptors:", descriptors, "bytes as sent:", received == sent);
              on.note(read_exactly(passed.a, 7));
          }) == "sendmsg 1048576\nuntouched: 1 1048576\ndescriptors: 1 bytes as sent: 1\nthrough\n");
}

TEST_CASE("a passed pipe, socket and terminal are waited for like any other") {
    for (const auto& make : {pair_maker{make_pipe}, pair_maker{tcp_pair}, pair_maker{make_terminal}})
        CHECK(native_diff([&](stage& on) {
                  const auto [sender, receiver] = unix_pair(on);
                  const auto [reading, writing] = make(on);
                  char byte = 0;
                  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
                  iovec part{&byte, 1};
                  msghdr message{};
                  message.msg_iov = &part;
                  message.msg_iovlen = 1;
                  message.msg_control = control;
                  message.msg_controllen = sizeof control;
                  auto* header = CMSG_FIRSTHDR(&message);
                  header->cmsg_level = SOL_SOCKET;
                  header->cmsg_type = SCM_RIGHTS;
                  header->cmsg_len = CMSG_LEN(sizeof(int));
                  std::memcpy(CMSG_DATA(header), &reading, sizeof(int));
                  must(::sendmsg(sender, &message, 0));
                  on.close(reading);
                  must(::recvmsg(receiver, &message, MSG_CMSG_CLOEXEC));
                  int passed;
                  std::memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof passed);
                  on.own(passed);
                  const auto feeding = on.start([&, to = writing] {
                      on.until_waiting();
                      must(::write(to, "abc", 3));
                  });
                  char bytes[8];
                  on.record("read", [&] { return ::read(passed, bytes, sizeof bytes); });
                  on.note(is_nonblocking(passed));
              }) == "read 3\n0\n");
}

TEST_CASE("datagrams keep their boundaries, empty ones too") {
    const std::vector<std::pair<const char*, pair_maker>> kinds{
        {"udp", udp_pair},
        {"unix datagram", [](stage& on) { return unix_pair(on, SOCK_DGRAM); }},
        {"unix seqpacket", [](stage& on) { return unix_pair(on, SOCK_SEQPACKET); }},
    };
    for (const auto& [name, make] : kinds) {
        CAPTURE(std::string{name});
        native_diff([&](stage& on) {
            const auto [reader, writer] = make(on);
            char bytes[8];
            iovec parts[2]{{bytes, 3}, {bytes + 3, 5}};
            std::vector<ssize_t> sizes;
            auto feeding = on.start([&, to = writer] {
                on.until_waiting();
                sizes.push_back(::send(to, "", 0, 0));
                sizes.push_back(::send(to, "abc", 3, 0));
                sizes.push_back(::send(to, "0123456789", 10, 0));
                sizes.push_back(::send(to, "0123456789", 10, 0));
                sizes.push_back(::send(to, "01234", 5, 0));
                sizes.push_back(::write(to, "xyz", 0));
                sizes.push_back(::write(to, "xyz", 3));
            });
            on.record("empty", [&] { return ::recv(reader, bytes, sizeof bytes, 0); });
            on.record("short", [&] { return ::recv(reader, bytes, sizeof bytes, 0); });
            on.record("cut", [&] { return ::recv(reader, bytes, sizeof bytes, 0); });
            on.record("cut, told", [&] { return ::recv(reader, bytes, sizeof bytes, MSG_TRUNC); });
            on.record("scattered", [&] { return ::readv(reader, parts, 2); });
            set_timeout(reader, SO_RCVTIMEO, 30); // whether an empty write sends anything is the kernel's affair
            on.record("next", [&] { return ::recv(reader, bytes, sizeof bytes, 0); });
            on.record("and next", [&] { return ::recv(reader, bytes, sizeof bytes, 0); });
            feeding.join();
            for (const auto size : sizes)
                on.note("sent", size);
        });
    }
}

TEST_CASE("a datagram that is too large is refused, and one that has to wait is sent whole") {
    native_diff([](stage& on) {
        const std::vector<char> much(1 << 20);
        const auto udp = udp_pair(on);
        on.record("udp", [&] { return ::send(udp.a, much.data(), much.size(), 0); });
        const auto [reader, writer] = unix_pair(on, SOCK_DGRAM);
        on.record("unix", [&] { return ::send(writer, much.data(), much.size(), 0); });
        const auto queued = fill(writer);
        std::size_t received = 0;
        auto emptying = on.start([&, from = reader] {
            on.until_waiting();
            std::vector<char> bytes(65536);
            while (received < queued + 5000)
                received += static_cast<std::size_t>(must(::recv(from, bytes.data(), bytes.size(), 0)));
        });
        on.record("waits", [&] { return ::send(writer, much.data(), 5000, 0); });
        emptying.join();
        on.note(received == queued + 5000);
    });
}

TEST_CASE("an address is reported with what came from it") {
    CHECK(native_diff([](stage& on) {
              const auto [a, b] = udp_pair(on);
              const auto feeding = on.start([&, to = b] {
                  on.until_waiting();
                  must(::send(to, "abc", 3, 0));
              });
              char bytes[8];
              sockaddr_in from{};
              socklen_t size = sizeof from;
              sockaddr_in expected{};
              socklen_t expected_size = sizeof expected;
              must(::getsockname(b, reinterpret_cast<sockaddr*>(&expected), &expected_size));
              on.record("recvfrom", [&] {
                  return ::recvfrom(a, bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&from), &size);
              });
              on.note(size, from.sin_port == expected.sin_port);
          }) == "recvfrom 3\n16 1\n");
}

TEST_CASE("MSG_WAITALL waits for all, or for the end") {
    for (const auto& make : {pair_maker{tcp_pair}, pair_maker{[](stage& on) { return unix_pair(on); }}}) {
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  char bytes[32]{};
                  iovec parts[3]{{bytes, 4}, {bytes + 4, 1}, {bytes + 5, 5}};
                  msghdr message{};
                  message.msg_iov = parts;
                  message.msg_iovlen = 3;
                  auto feeding = on.start([&, to = writer] {
                      for (const char* piece : {"abc", "d", "efghij", "klm", "no", "pqrst", "uvw"}) {
                          on.until_waiting();
                          must(::write(to, piece, std::strlen(piece)));
                      }
                      on.until_waiting();
                      on.close(to);
                  });
                  on.record("recv", [&] { return ::recv(reader, bytes, 10, MSG_WAITALL); });
                  on.note(std::string(bytes, 10));
                  on.record("recvmsg", [&] { return ::recvmsg(reader, &message, MSG_WAITALL); });
                  on.note(std::string(bytes, 10));
                  on.record("at the end", [&] { return ::recv(reader, bytes, 10, MSG_WAITALL); });
                  on.record("after it", [&] { return ::recv(reader, bytes, 10, MSG_WAITALL); });
                  on.record("nothing", [&] { return ::recv(reader, bytes, 0, MSG_WAITALL); });
              }) == "recv 10\nabcdefghij\nrecvmsg 10\nklmnopqrst\nat the end 3\nafter it 0\nnothing 0\n");
    }
}

TEST_CASE("MSG_WAITALL returns one datagram") {
    for (const auto& make : {pair_maker{udp_pair}, pair_maker{[](stage& on) { return unix_pair(on, SOCK_DGRAM); }},
                             pair_maker{[](stage& on) { return unix_pair(on, SOCK_SEQPACKET); }}})
        native_diff([&](stage& on) {
            const auto [reader, writer] = make(on);
            const auto feeding = on.start([&, to = writer] {
                on.until_waiting();
                must(::send(to, "abc", 3, 0));
                must(::send(to, "def", 3, 0));
            });
            char bytes[16];
            on.record("recv", [&] { return ::recv(reader, bytes, sizeof bytes, MSG_WAITALL); });
            on.record("recv", [&] { return ::recv(reader, bytes, sizeof bytes, MSG_WAITALL); });
        });
}

TEST_CASE("MSG_PEEK waits and takes nothing, and with MSG_WAITALL waits for all") {
    for (const auto& make : {pair_maker{tcp_pair}, pair_maker{[](stage& on) { return unix_pair(on); }}})
        native_diff([&](stage& on) {
            const auto [reader, writer] = make(on);
            char bytes[16]{};
            iovec part{bytes, 8};
            msghdr message{};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            auto feeding = on.start([&, to = writer] {
                for (const char* piece : {"abc", "def", "ghi"}) {
                    on.until_waiting();
                    must(::write(to, piece, 3));
                }
            });
            on.record("peek", [&] { return ::recv(reader, bytes, sizeof bytes, MSG_PEEK); });
            on.record("peek", [&] { return ::recv(reader, bytes, 2, MSG_PEEK); });
            on.record("peek all", [&] { return ::recv(reader, bytes, 6, MSG_PEEK | MSG_WAITALL); });
            on.record("peek all", [&] { return ::recvmsg(reader, &message, MSG_PEEK | MSG_WAITALL); });
            feeding.join();
            on.record("recv", [&] { return ::recv(reader, bytes, 9, MSG_WAITALL); });
            on.note(std::string(bytes, 9));
        });
}

TEST_CASE("reading nothing") {
    for (const auto& kind : sources()) {
        CAPTURE(std::string{kind.name});
        native_diff([&](stage& on) {
            const auto from = kind.make(on);
            char byte;
            const iovec nothing[2]{{&byte, 0}, {nullptr, 0}};
            if (kind.name != std::string_view{"inotify"}) { // which waits even so
                on.record("read", [&] { return ::read(from.descriptor, &byte, 0); });
                on.record("readv", [&] { return ::readv(from.descriptor, nothing, 2); });
                on.record("readv", [&] { return ::readv(from.descriptor, nothing, 0); });
            }
            from.feed();
            on.record("read", [&] { return ::read(from.descriptor, &byte, 0); });
            std::vector<char> all(from.size);
            on.record("read", [&] { return ::read(from.descriptor, all.data(), all.size()); });
        });
    }
}

TEST_CASE("recv of nothing on a socket that has something") {
    for (const auto& kind : sources()) {
        if (&kind > &sources()[4])
            break; // the first five are sockets
        CAPTURE(std::string{kind.name});
        native_diff([&](stage& on) {
            const auto from = kind.make(on);
            char byte;
            const auto feeding = on.start([&] {
                on.until_waiting();
                from.feed();
            });
            // A stream socket waits here until there is something, and then takes none of it.
            on.record("recv", [&] { return ::recv(from.descriptor, &byte, 0, 0); });
            on.record("recv", [&] { return ::recv(from.descriptor, &byte, 1, MSG_DONTWAIT); });
        });
    }
}

TEST_CASE("writing nothing") {
    for (const auto& [name, make] : streams) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  const iovec nothing[2]{{nullptr, 0}, {nullptr, 0}};
                  on.record("write", [&] { return ::write(writer, nullptr, 0); });
                  on.record("writev", [&] { return ::writev(writer, nothing, 2); });
                  fill(writer);
                  on.record("write", [&] { return ::write(writer, nullptr, 0); });
                  on.record("writev", [&] { return ::writev(writer, nothing, 2); });
              }) == "write 0\nwritev 0\nwrite 0\nwritev 0\n");
    }
}

TEST_CASE("a datagram of nothing is sent by write, but not by writev") {
    CHECK(native_diff([&](stage& on) {
              const auto [a, b] = unix_pair(on, SOCK_DGRAM);
              const iovec nothing[2]{{nullptr, 0}, {nullptr, 0}};
              char byte;
              on.record("writev", [&, to = b] { return ::writev(to, nothing, 2); });
              on.record("recv", [&, from = a] { return ::recv(from, &byte, 1, MSG_DONTWAIT); });
              on.record("write", [&, to = b] { return ::write(to, nullptr, 0); });
              on.record("recv", [&, from = a] { return ::recv(from, &byte, 1, MSG_DONTWAIT); });
          }) == "writev 0\nrecv -1 EAGAIN\nwrite 0\nrecv 0\n");
}

TEST_CASE("end of stream, by close and by shutdown") {
    for (const auto& [name, make] : streams) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  char byte;
                  auto closing = on.start([&, last = writer] {
                      on.until_waiting();
                      on.close(last);
                  });
                  on.record("read", [&] { return ::read(reader, &byte, 1); });
                  on.record("read", [&] { return ::read(reader, &byte, 1); });
              }) == "read 0\nread 0\n");
    }
    CHECK(native_diff([&](stage& on) {
              const auto [reader, writer] = tcp_pair(on);
              char byte;
              auto closing = on.start([&, mine = reader] {
                  on.until_waiting();
                  must(::shutdown(mine, SHUT_RDWR));
              });
              on.record("recv", [&] { return ::recv(reader, &byte, 1, 0); });
              on.record("recv", [&] { return ::recv(writer, &byte, 1, 0); });
              on.record("send", [&] { return ::send(reader, &byte, 1, MSG_NOSIGNAL); });
          }) == "recv 0\nrecv 0\nsend -1 EPIPE\n");
}

TEST_CASE("bad descriptors") {
    CHECK(native_diff([](stage& on) {
              const auto pipe = make_pipe(on);
              const int file = make_file(on, "abc");
              char byte = 0;
              iovec part{&byte, 1};
              msghdr message{};
              message.msg_iov = &part;
              message.msg_iovlen = 1;
              for (const int descriptor : {-1, 1 << 20}) {
                  on.record("read", [&] { return ::read(descriptor, &byte, 1); });
                  on.record("write", [&] { return ::write(descriptor, &byte, 1); });
                  on.record("readv", [&] { return ::readv(descriptor, &part, 1); });
                  on.record("writev", [&] { return ::writev(descriptor, &part, 1); });
                  on.record("recv", [&] { return ::recv(descriptor, &byte, 1, 0); });
                  on.record("recv all", [&] { return ::recv(descriptor, &byte, 1, MSG_WAITALL); });
                  on.record("send", [&] { return ::send(descriptor, &byte, 1, 0); });
                  on.record("recvmsg", [&] { return ::recvmsg(descriptor, &message, 0); });
                  on.record("sendmsg", [&] { return ::sendmsg(descriptor, &message, 0); });
              }
              on.record("recv file", [&] { return ::recv(file, &byte, 1, 0); });
              on.record("send pipe", [&] { return ::send(pipe.b, &byte, 1, 0); });
              on.record("read the writing end", [&] { return ::read(pipe.b, &byte, 1); });
              on.record("write the reading end", [&] { return ::write(pipe.a, &byte, 1); });
          }).find("read -1 EBADF\n") == 0);
}

TEST_CASE("bad buffers" * doctest::skip(sanitized)) {
    native_diff([](stage& on) {
        const auto [ours, theirs] = unix_pair(on);
        const auto pipe = make_pipe(on);
        const int file = make_file(on, "abc");
        auto* bad = unknown(reinterpret_cast<char*>(8));
        char byte = 0;
        iovec part{&byte, 1};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        must(::write(theirs, "abc", 3));
        must(::write(pipe.b, "abc", 3));
        for (const int descriptor : {ours, pipe.a, file}) {
            on.record("read", [&] { return ::read(descriptor, bad, 3); });
            on.record("read again", [&] { return ::read(descriptor, &byte, 1); });
        }
        for (const int descriptor : {ours, pipe.b, file})
            on.record("write", [&] { return ::write(descriptor, bad, 3); });
        on.record("recv", [&] { return ::recv(ours, bad, 3, 0); });
        on.record("send", [&] { return ::send(ours, bad, 3, 0); });
        message.msg_iovlen = IOV_MAX + 1;
        on.record("sendmsg", [&] { return ::sendmsg(ours, &message, 0); });
        on.record("recvmsg", [&] { return ::recvmsg(ours, &message, 0); });
    });
}

TEST_CASE("eventfd and timerfd semantics") {
    native_diff([](stage& on) {
        for (const auto& kind : sources())
            if (kind.name == std::string_view{"eventfd"} || kind.name == std::string_view{"timerfd"}) {
                const auto from = kind.make(on);
                std::uint64_t value = 0;
                on.record("too small", [&] { return ::read(from.descriptor, &value, 4); });
                from.feed();
                from.feed();
                ::usleep(2000);
                on.record("read", [&] { return ::read(from.descriptor, &value, 8); });
                on.note(value);
                value = ~std::uint64_t{0};
                on.record("write", [&] { return ::write(from.descriptor, &value, 8); });
                value = 7;
                on.record("write", [&] { return ::write(from.descriptor, &value, 4); });
                on.record("write", [&] { return ::write(from.descriptor, &value, 8); });
            }
    });
}

TEST_CASE("a terminal is read line by line, or byte by byte, as it is set up") {
    native_diff([](stage& on) {
        const auto [terminal, controller] = make_terminal(on);
        termios settings;
        must(::tcgetattr(terminal, &settings));
        settings.c_lflag |= ICANON;
        must(::tcsetattr(terminal, TCSANOW, &settings));
        char bytes[64]{};
        auto typing = on.start([&, to = controller] {
            on.until_waiting();
            must(::write(to, "half a ", 7));
            on.until_waiting();
            must(::write(to, "line\nand more\n", 14));
        });
        on.record("line", [&] { return ::read(terminal, bytes, sizeof bytes); });
        on.record("line", [&] { return ::read(terminal, bytes, sizeof bytes); });
        typing.join();

        settings.c_lflag &= ~static_cast<tcflag_t>(ICANON);
        settings.c_cc[VMIN] = 4;
        settings.c_cc[VTIME] = 0;
        must(::tcsetattr(terminal, TCSANOW, &settings));
        auto again = on.start([&, to = controller] {
            on.until_waiting();
            must(::write(to, "ab", 2));
            on.until_waiting();
            must(::write(to, "cd", 2));
        });
        on.record("at least four", [&] { return ::read(terminal, bytes, sizeof bytes); });
        again.join();

        settings.c_cc[VMIN] = 100;
        must(::tcsetattr(terminal, TCSANOW, &settings));
        auto more = on.start([&, to = controller] {
            on.until_waiting();
            must(::write(to, "ef", 2));
        });
        on.record("two of a hundred", [&] { return ::read(terminal, bytes, 2); });
        more.join();

        settings.c_cc[VMIN] = 0;
        must(::tcsetattr(terminal, TCSANOW, &settings));
        on.record("whatever there is", [&] { return ::read(terminal, bytes, sizeof bytes); });
        settings.c_cc[VTIME] = 1;
        must(::tcsetattr(terminal, TCSANOW, &settings));
        on.record("within a tenth of a second", [&] { return ::read(terminal, bytes, sizeof bytes); });
    });
}

TEST_CASE("two readers of one socket get every byte once") {
    for (const auto& [name, make] : streams) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  std::atomic<long> sum{0};
                  std::atomic<long> count{0};
                  const auto consume = [&, from = reader] {
                      unsigned char bytes[7];
                      for (ssize_t size; (size = must(::read(from, bytes, sizeof bytes))) > 0;) {
                          count += size;
                          sum += std::accumulate(bytes, bytes + size, 0L);
                      }
                  };
                  auto first = on.start(consume);
                  auto second = on.start(consume);
                  long expected = 0;
                  for (int i = 0; i < 20'000; ++i) {
                      const auto byte = static_cast<unsigned char>(i * 31);
                      expected += byte;
                      must(::write(writer, &byte, 1));
                      if (i % 16 == 0)
                          ::sched_yield();
                  }
                  on.close(writer);
                  first.join();
                  second.join();
                  on.note(count, sum == expected);
              }) == "20000 1\n");
    }
}

TEST_CASE("two writers of one pipe do not tear what fits in PIPE_BUF") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              const auto produce = [&, to = writer](char letter) {
                  const std::string record(1000, letter);
                  for (int i = 0; i < 300; ++i)
                      must(::write(to, record.data(), record.size()));
              };
              auto first = on.start([&] { produce('a'); });
              auto second = on.start([&] { produce('b'); });
              std::array<int, 2> whole{};
              for (int i = 0; i < 600; ++i) {
                  const auto record = read_exactly(reader, 1000);
                  if (record == std::string(1000, record[0]))
                      ++whole[static_cast<std::size_t>(record[0] - 'a')];
              }
              on.note(whole[0], whole[1]);
          }) == "300 300\n");
}

TEST_CASE("an event descriptor that would overflow is written when there is room") {
    constexpr auto most = ~std::uint64_t{0} - 1;
    CHECK(native_diff([](stage& on) {
              const int event = on.own(::eventfd(0, EFD_CLOEXEC));
              on.record("write", [&] { return ::eventfd_write(event, most - 4); });
              on.record("write", [&] { return ::eventfd_write(event, 1); });
              std::uint64_t taken = 0;
              auto reading = on.start([&] {
                  on.until_waiting();
                  must(::eventfd_read(event, &taken));
              });
              std::uint64_t value = 4;
              on.record("write", [&] { return ::write(event, &value, sizeof value); });
              reading.join();
              on.note(taken == most - 3);
              on.record("read", [&] { return ::eventfd_read(event, &value); });
              on.note(value);
              on.record("too much", [&] { return ::eventfd_write(event, ~std::uint64_t{0}); });
              set_nonblocking(event, true);
              on.record("read", [&] { return ::eventfd_read(event, &value); });
              on.record("write", [&] { return ::eventfd_write(event, most); });
              on.record("write", [&] { return ::eventfd_write(event, 2); });
              set_nonblocking(event, false);
              on.record("nothing", [&] { return ::eventfd_write(event, 0); });
              on.record("too much", [&] { return ::eventfd_write(event, ~std::uint64_t{0}); });
              on.record("too short", [&] { return ::write(event, &value, sizeof value - 1); });
              on.record("bad", [&] { return ::eventfd_write(-1, 2); });
          }) == "write 0\nwrite 0\nwrite 8\n1\nread 0\n4\ntoo much -1 EINVAL\nread -1 EAGAIN\nwrite 0\nwrite -1 "
                "EAGAIN\nnothing 0\ntoo much -1 EINVAL\ntoo short -1 EINVAL\nbad -1 EBADF\n");
}

TEST_CASE("preadv2 and pwritev2 at no position are readv and writev, and elsewhere concern files") {
    CHECK(native_diff([](stage& on) {
              char bytes[8] = "1234567";
              const iovec part{bytes, 7};
              for (const auto& [reader, writer] : {make_pipe(on), tcp_pair(on), make_fifo(on)}) {
                  auto writing = on.start([&on, to = writer, part] {
                      on.until_waiting();
                      must(::pwritev2(to, &part, 1, -1, 0));
                  });
                  on.record("read", [&, from = reader] { return ::preadv2(from, &part, 1, -1, 0); });
                  writing.join();
                  on.record("at 0", [&, from = reader] { return ::preadv64v2(from, &part, 1, 0, 0); });
              }
              const auto ends = make_pipe(on);
              on.record("not to wait", [&] { return ::preadv2(ends.a, &part, 1, -1, RWF_NOWAIT); });
              const int file = make_file(on);
              on.record("file", [&] { return ::pwritev64v2(file, &part, 1, 3, 0); });
              on.record("file", [&] { return ::preadv2(file, &part, 1, 5, 0); });
              on.record("file", [&] { return ::preadv2(file, &part, 1, -1, 0); });
          }) == "read 7\nat 0 -1 ESPIPE\nread 7\nat 0 -1 ESPIPE\nread 7\nat 0 -1 ESPIPE\nnot to wait -1 "
                "EAGAIN\nfile 7\nfile 5\nfile 7\n");
}
