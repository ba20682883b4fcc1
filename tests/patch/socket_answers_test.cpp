// SPDX-License-Identifier: BSL-1.0
// A socket that is read again and again: the kernel is not asked each time whether the read may wait, and not tried
// when it must be empty. Nothing of that shows.
#include "another_process.hpp"
#include "descriptors.hpp"

#include <coir/cancellation.hpp>
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>

namespace {

std::array<char, 64> room;

/// Two reads that wait: after them it is known that they do, and that there is nothing more.
void read_twice(stage& on, const two& pair)
{
    for (int i = 0; i < 2; ++i) {
        const auto feeding = on.start([&] {
            on.until_waiting();
            must(::write(pair.b, "x", 1));
        });
        on.record("read", [&] { return ::read(pair.a, room.data(), room.size()); });
    }
}

int accept_from(const tcp_listener& listener, int flags = 0)
{
    return ::accept4(listener.descriptor, nullptr, nullptr, flags | SOCK_CLOEXEC);
}

/// Two accepts that wait: after them it is known that they do.
void accept_twice(stage& on, const tcp_listener& listener)
{
    for (int i = 0; i < 2; ++i) {
        const auto connecting = on.start([&] {
            on.until_waiting();
            connect_to(on, listener);
        });
        on.own(on.record_ok("accept", [&] { return accept_from(listener); }));
    }
}

struct setting {
    const char* name;
    std::function<void(stage& on, int descriptor, bool set)> change;
};

/// What makes a read end with EAGAIN.
const std::vector<setting>& settings()
{
    static const std::vector<setting> all{
        {"fcntl", [](stage&, int descriptor, bool set) { set_nonblocking(descriptor, set); }},
        {"ioctl",
         [](stage&, int descriptor, bool set) {
             int value = set;
             must(::ioctl(descriptor, FIONBIO, &value));
         }},
        {"fcntl on a duplicate",
         [](stage& on, int descriptor, bool set) { set_nonblocking(on.own(::dup(descriptor)), set); }},
        {"fcntl in another process",
         [](stage&, int descriptor, bool set) { in_another_process([&] { set_nonblocking(descriptor, set); }); }},
        {"SO_RCVTIMEO", [](stage&, int descriptor, bool set) { set_timeout(descriptor, SO_RCVTIMEO, set ? 5 : 0); }},
        {"SO_RCVTIMEO in another process",
         [](stage&, int descriptor, bool set) {
             in_another_process([&] { set_timeout(descriptor, SO_RCVTIMEO, set ? 5 : 0); });
         }},
    };
    return all;
}

} // namespace

TEST_CASE("a flag or a time limit is obeyed that comes after reads which have waited") {
    for (const auto& kind : {tcp_pair, udp_pair})
        for (const auto& each : settings()) {
            CAPTURE(std::string{each.name});
            CHECK(native_diff([&](stage& on) {
                      const auto pair = kind(on);
                      for (int i = 0; i < 2; ++i) {
                          read_twice(on, pair);
                          each.change(on, pair.a, true);
                          on.record("not waiting", [&] { return ::read(pair.a, room.data(), room.size()); });
                          on.record("again", [&] { return ::recv(pair.a, room.data(), room.size(), 0); });
                          each.change(on, pair.a, false);
                      }
                      read_twice(on, pair);
                  }) == "read 1\nread 1\nnot waiting -1 EAGAIN\nagain -1 EAGAIN\n"
                        "read 1\nread 1\nnot waiting -1 EAGAIN\nagain -1 EAGAIN\nread 1\nread 1\n");
        }
}

TEST_CASE("a listener's flag or time limit is obeyed that comes after accepts which have waited") {
    for (const auto& each : settings()) {
        CAPTURE(std::string{each.name});
        CHECK(native_diff([&](stage& on) {
                  const auto listener = listen_tcp(on);
                  for (int i = 0; i < 2; ++i) {
                      accept_twice(on, listener);
                      each.change(on, listener.descriptor, true);
                      on.record("not waiting", [&] { return accept_from(listener); });
                      on.record("again", [&] { return ::accept(listener.descriptor, nullptr, nullptr); });
                      each.change(on, listener.descriptor, false);
                  }
                  accept_twice(on, listener);
              }) == "accept ok\naccept ok\nnot waiting -1 EAGAIN\nagain -1 EAGAIN\n"
                    "accept ok\naccept ok\nnot waiting -1 EAGAIN\nagain -1 EAGAIN\naccept ok\naccept ok\n");
    }
}

TEST_CASE("a connection of a listener that has waited: its own flag, its own time limit, and the one it comes with") {
    CHECK(native_diff([](stage& on) {
              const auto listener = listen_tcp(on);
              accept_twice(on, listener);
              const auto connect = [&](int flags = 0) {
                  const int theirs = connect_to(on, listener);
                  return two{on.own(accept_from(listener, flags)), theirs};
              };
              const auto read = [&](int from) { return ::read(from, room.data(), room.size()); };
              on.record("accepted as non-blocking", [&, from = connect(SOCK_NONBLOCK).a] { return read(from); });
              for (const auto& each : settings()) {
                  const auto pair = connect();
                  each.change(on, pair.a, true);
                  on.record("changed at once", [&] { return read(pair.a); });
              }
              set_timeout(listener.descriptor, SO_RCVTIMEO, 5);
              on.record("the listener's limit", [&, from = connect().a] { return read(from); });
              on.record("of it", [&] { return accept_from(listener); });
              set_timeout(listener.descriptor, SO_RCVTIMEO, 0);
              accept_twice(on, listener);
              read_twice(on, connect());
          }) == "accept ok\naccept ok\naccepted as non-blocking -1 EAGAIN\n"
                "changed at once -1 EAGAIN\nchanged at once -1 EAGAIN\nchanged at once -1 EAGAIN\n"
                "changed at once -1 EAGAIN\nchanged at once -1 EAGAIN\nchanged at once -1 EAGAIN\n"
                "the listener's limit -1 EAGAIN\nof it -1 EAGAIN\naccept ok\naccept ok\nread 1\nread 1\n");
}

TEST_CASE("accept fails on what has been a listener, and on a connection") {
    CHECK(native_diff([](stage& on) {
              const auto listener = listen_tcp(on);
              const auto other = listen_tcp(on);
              accept_twice(on, listener);
              const int theirs = connect_to(on, listener);
              const two pair{on.own(accept_from(listener)), theirs};
              read_twice(on, pair);
              const auto accept = [&](int from) { return [from] { return ::accept(from, nullptr, nullptr); }; };
              on.record("of a connection", accept(pair.a));
              must(::shutdown(listener.descriptor, SHUT_RDWR));
              on.record("shut down", accept(listener.descriptor));
              must(::connect(listener.descriptor, generic(other.address), sizeof other.address));
              on.record("connected", accept(listener.descriptor));
          }) == "accept ok\naccept ok\nread 1\nread 1\nof a connection -1 EINVAL\nshut down -1 EINVAL\n"
                "connected -1 EINVAL\n");
}

TEST_CASE("what follows a read that has emptied the socket is read: bytes, the end, an error, urgent data") {
    CHECK(native_diff([](stage& on) {
              const auto pair = tcp_pair(on);
              read_twice(on, pair);
              must(::write(pair.b, "abc", 3));
              on.record("read", [&] { return ::read(pair.a, room.data(), 2); });
              on.record("read", [&] { return ::read(pair.a, room.data(), 2); });
              must(::send(pair.b, "abc", 3, MSG_OOB));
              must(::write(pair.b, "de", 2));
              on.record("before the mark", [&] { return ::read(pair.a, room.data(), room.size()); });
              on.record("after it", [&] { return ::read(pair.a, room.data(), room.size()); });
              must(::write(pair.b, "f", 1));
              must(::shutdown(pair.b, SHUT_WR));
              on.record("read", [&] { return ::read(pair.a, room.data(), room.size()); });
              on.record("end", [&] { return ::read(pair.a, room.data(), room.size()); });
              on.record("end", [&] { return ::read(pair.a, room.data(), room.size()); });
          }) == "read 1\nread 1\nread 2\nread 1\nbefore the mark 2\nafter it 2\nread 1\nend 0\nend 0\n");
    CHECK(native_diff([](stage& on) {
              const auto pair = tcp_pair(on);
              read_twice(on, pair);
              const auto resetting = on.start([&] {
                  on.until_waiting();
                  const linger now{.l_onoff = 1, .l_linger = 0};
                  must(::setsockopt(pair.b, SOL_SOCKET, SO_LINGER, &now, sizeof now));
                  on.disown(pair.b);
                  must(::close(pair.b));
              });
              on.record("reset", [&] { return ::read(pair.a, room.data(), room.size()); });
              on.record("end", [&] { return ::read(pair.a, room.data(), room.size()); });
          }) == "read 1\nread 1\nreset -1 ECONNRESET\nend 0\n");
}

TEST_CASE("the next owner of a number is asked afresh") {
    CHECK(native_diff([](stage& on) {
              const auto pair = tcp_pair(on);
              read_twice(on, pair);
              int ends[2];
              must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
              on.own(ends[1]);
              must(::dup2(ends[0], pair.a));
              must(::close(ends[0]));
              on.record("read", [&] { return ::read(pair.a, room.data(), room.size()); });
          }) == "read 1\nread 1\nread -1 EAGAIN\n");
}

TEST_CASE("a read that need not wait succeeds in a cancelled fiber, and inside a no_suspend") {
    coir::run([] {
        stage on{true};
        const auto pair = tcp_pair(on);
        read_twice(on, pair);
        must(::write(pair.b, "x", 1));
        {
            const coir::no_suspend guard;
            CHECK(::read(pair.a, room.data(), room.size()) == 1);
        }
        coir::fiber cancelled{[&] {
            must(::write(pair.b, "x", 1));
            coir::this_fiber::yield();
            CHECK(::read(pair.a, room.data(), room.size()) == 1);
            CHECK(::read(pair.a, room.data(), room.size()) == -1);
            CHECK(errno == ECANCELED);
        }};
        coir::this_fiber::yield();
        cancelled.cancel();
        coir::this_fiber::yield();
    });
}
