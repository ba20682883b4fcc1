// SPDX-License-Identifier: BSL-1.0
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace {

sockaddr_un unix_address(const std::string& path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    return address;
}

int tcp_socket(stage& on)
{
    return on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

int socket_error(int descriptor)
{
    int error = 0;
    socklen_t size = sizeof error;
    must(::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size));
    return error;
}

} // namespace

TEST_CASE("connecting, then again") {
    CHECK(native_diff([](stage& on) {
              const auto listener = listen_tcp(on);
              const int descriptor = tcp_socket(on);
              const auto connect = [&] {
                  return ::connect(descriptor, generic(listener.address), sizeof listener.address);
              };
              on.record("connect", connect);
              on.note(socket_error(descriptor));
              on.record("connect", connect);
              on.record("connect", connect);
              must(::write(descriptor, "x", 1));
          }) == "connect 0\n0\nconnect -1 EISCONN\nconnect -1 EISCONN\n");
}

TEST_CASE("a refused connection is reported, and the socket can be used again") {
    CHECK(native_diff([](stage& on) {
              const auto nobody = refused_port();
              const int descriptor = tcp_socket(on);
              const auto connect = [&] { return ::connect(descriptor, generic(nobody), sizeof nobody); };
              on.record("connect", connect);
              on.note(socket_error(descriptor));
              on.record("connect", connect);
              on.record("connect", connect);
              char byte;
              on.record("send", [&] { return ::send(descriptor, &byte, 1, MSG_NOSIGNAL); });
              const auto listener = listen_tcp(on);
              on.record("connect",
                        [&] { return ::connect(descriptor, generic(listener.address), sizeof listener.address); });
          }) == "connect -1 ECONNREFUSED\n0\nconnect -1 ECONNREFUSED\nconnect -1 ECONNREFUSED\nsend -1 EPIPE\n"
                "connect 0\n");
}

TEST_CASE("a connection that waits for its peer") {
    // The backlog is full until the companion accepts; then the kernel tries again.
    native_diff([](stage& on) {
        const auto listener = listen_tcp(on, 0);
        connect_to(on, listener);
        const int descriptor = tcp_socket(on);
        auto accepting = on.start([&, from = listener.descriptor] {
            for (int i = 0; i < 2; ++i)
                on.own(::accept4(from, nullptr, nullptr, SOCK_CLOEXEC));
        });
        on.record("connect", [&] { return ::connect(descriptor, generic(listener.address), sizeof listener.address); });
        on.record("connect", [&] { return ::connect(descriptor, generic(listener.address), sizeof listener.address); });
    });
}

TEST_CASE("connecting a non-blocking socket") {
    native_diff([](stage& on) {
        const auto listener = listen_tcp(on, 0);
        for (int i = 0; i < 3; ++i) { // until the backlog is full and connecting takes time
            const int descriptor = tcp_socket(on);
            set_nonblocking(descriptor, true);
            const auto connect = [&] {
                return ::connect(descriptor, generic(listener.address), sizeof listener.address);
            };
            on.record("connect", connect);
            if (i == 2) {
                on.record("connect", connect);
                on.note(is_nonblocking(descriptor));
            }
        }
    });
}

TEST_CASE("bad addresses and bad descriptors") {
    native_diff([](stage& on) {
        const auto listener = listen_tcp(on);
        const auto pipe = make_pipe(on);
        const auto connect = [&](int descriptor, const void* address, socklen_t size) {
            on.record("connect", [&] { return ::connect(descriptor, static_cast<const sockaddr*>(address), size); });
        };
        const auto& address = listener.address;
        connect(-1, &address, sizeof address);
        connect(1 << 20, &address, sizeof address);
        connect(pipe.a, &address, sizeof address);
        connect(tcp_socket(on), &address, 3);
        if (!sanitized)
            connect(tcp_socket(on), unknown(reinterpret_cast<void*>(8)), sizeof address);
        connect(listener.descriptor, &address, sizeof address);
        const auto nowhere = unix_address("/nonexistent/socket");
        connect(tcp_socket(on), &nowhere, sizeof nowhere);
        connect(on.own(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), &nowhere, sizeof nowhere);
        connect(on.own(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)), &nowhere, sizeof nowhere);

        const auto accept = [&](int descriptor, int flags) {
            on.record("accept", [&] { return ::accept4(descriptor, nullptr, nullptr, flags); });
        };
        accept(-1, 0);
        accept(1 << 20, 0);
        accept(pipe.a, 0);
        accept(tcp_socket(on), 0);
        accept(tcp_pair(on).a, 0);
        accept(udp_pair(on).a, 0);
        accept(unix_pair(on).a, 0);
        accept(unix_pair(on, SOCK_DGRAM).a, 0);
        accept(listener.descriptor, 1); // no such flag
        on.record("accept", [&] { return ::accept(pipe.b, nullptr, nullptr); });
        sockaddr_in from{};
        auto size = static_cast<socklen_t>(-1);
        connect_to(on, listener);
        on.record("accept",
                  [&] { return ::accept(listener.descriptor, reinterpret_cast<sockaddr*>(&from), unknown(&size)); });
    });
}

TEST_CASE("accept waits, and reports the peer's address and takes its flags") {
    CHECK(native_diff([](stage& on) {
              const auto listener = listen_tcp(on);
              in_port_t port = 0;
              auto connecting = on.start([&] {
                  on.until_waiting();
                  sockaddr_in mine{};
                  socklen_t size = sizeof mine;
                  must(::getsockname(connect_to(on, listener), reinterpret_cast<sockaddr*>(&mine), &size));
                  port = mine.sin_port;
              });
              sockaddr_in from{};
              socklen_t size = sizeof from;
              const int accepted = on.own(on.record_ok("accept4", [&] {
                  return ::accept4(listener.descriptor, reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC);
              }));
              connecting.join();
              on.note(size, from.sin_port == port, is_nonblocking(accepted), is_nonblocking(listener.descriptor));
          }) == "accept4 ok\n16 1 0 0\n");
}

TEST_CASE("several acceptors of one listener share its connections") {
    constexpr int connections = 60;
    CHECK(native_diff([](stage& on) {
              const auto listener = listen_tcp(on, connections);
              std::atomic<int> accepted{0};
              std::vector<companion> acceptors;
              for (int i = 0; i < 5; ++i)
                  acceptors.push_back(on.start([&] {
                      for (int n = 0; n < connections / 5; ++n) {
                          on.own(::accept4(listener.descriptor, nullptr, nullptr, SOCK_CLOEXEC));
                          ++accepted;
                      }
                  }));
              for (auto& each : acceptors)
                  on.until_waiting(each.who());
              for (int i = 0; i < connections; ++i)
                  connect_to(on, listener);
              for (auto& each : acceptors)
                  each.join();
              on.note(accepted);
          }) == "60\n");
}

TEST_CASE("shutdown ends an accept that waits") {
    CHECK(native_diff([](stage& on) {
              const auto listener = listen_tcp(on);
              auto closing = on.start([&] {
                  on.until_waiting();
                  must(::shutdown(listener.descriptor, SHUT_RDWR));
              });
              on.record("accept", [&] { return ::accept(listener.descriptor, nullptr, nullptr); });
          }) == "accept -1 EINVAL\n");
}

TEST_CASE("a Unix socket that has been shut down gives what was in its queue, then does not listen") {
    CHECK(native_diff([](stage& on) {
              const int listener = on.own(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
              const sa_family_t any_name = AF_UNIX;
              must(::bind(listener, reinterpret_cast<const sockaddr*>(&any_name), sizeof any_name));
              must(::listen(listener, 4));
              sockaddr_un name{};
              socklen_t size = sizeof name;
              must(::getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size));
              const int client = on.own(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
              must(::connect(client, generic(name), size));
              must(::shutdown(listener, SHUT_RDWR));
              const auto accept = [&] { return ::accept(listener, nullptr, nullptr); };
              on.own(on.record_ok("accept", accept));
              on.record("accept", accept);
              set_nonblocking(listener, true);
              on.record("accept", accept);
          }) == "accept ok\naccept -1 EINVAL\naccept -1 EAGAIN\n");
}

TEST_CASE("Unix sockets: connecting, being refused, and waiting for room in the backlog") {
    CHECK(native_diff([](stage& on) {
              const temporary_directory directory;
              const auto address = unix_address(directory / "socket");
              const auto new_socket = [&] { return on.own(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); };
              const int listener = new_socket();
              must(::bind(listener, generic(address), sizeof address));
              const auto connect = [&](int descriptor) {
                  return on.record("connect", [&] { return ::connect(descriptor, generic(address), sizeof address); });
              };
              connect(new_socket());
              must(::listen(listener, 1));
              const int first = new_socket();
              connect(first);
              connect(first);
              connect(new_socket());
              const int impatient = new_socket();
              set_nonblocking(impatient, true);
              connect(impatient);
              const int limited = new_socket();
              set_timeout(limited, SO_SNDTIMEO, 30);
              connect(limited);
              auto accepting = on.start([&] {
                  on.until_waiting();
                  for (int i = 0; i < 3; ++i)
                      on.own(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
              });
              connect(new_socket());
          }) == "connect -1 ECONNREFUSED\nconnect 0\nconnect -1 EISCONN\nconnect 0\nconnect -1 EAGAIN\n"
                "connect -1 EAGAIN\n"
                "connect 0\n");
}

TEST_CASE("connected datagram sockets") {
    CHECK(native_diff([](stage& on) {
              const auto nobody = refused_port();
              const int descriptor = on.own(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
              const auto connect = [&] {
                  on.record("connect", [&] { return ::connect(descriptor, generic(nobody), sizeof nobody); });
              };
              connect();
              connect(); // to another or the same: always allowed
              on.record("send", [&] { return ::send(descriptor, "x", 1, 0); });
              char byte;
              on.record("recv", [&] { return ::recv(descriptor, &byte, 1, 0); });
              sockaddr nothing{};
              nothing.sa_family = AF_UNSPEC;
              on.record("disconnect", [&] { return ::connect(descriptor, &nothing, sizeof nothing); });
              on.record("send", [&] { return ::send(descriptor, "x", 1, 0); });
          }) == "connect 0\nconnect 0\nsend 1\nrecv -1 ECONNREFUSED\ndisconnect 0\nsend -1 EDESTADDRREQ\n");
}
