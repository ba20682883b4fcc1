// SPDX-License-Identifier: BSL-1.0
// A fiber whose calls never have to wait gives way all the same.
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// Descriptors that are always ready.
class ready_descriptors {
public:
    ready_descriptors()
    {
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) == 0);
        REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
        epoll_event event{.events = EPOLLOUT, .data = {}};
        REQUIRE(::epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[0], &event) == 0);
    }
    ready_descriptors(const ready_descriptors&) = delete;
    ready_descriptors& operator=(const ready_descriptors&) = delete;
    ~ready_descriptors()
    {
        for (const int each : {sockets[0], sockets[1], pipe[0], pipe[1], zero, event, epoll})
            ::close(each);
    }

    std::array<int, 2> sockets{};
    std::array<int, 2> pipe{};
    int zero = ::open("/dev/zero", O_RDWR | O_CLOEXEC);
    int event = ::eventfd(0, EFD_CLOEXEC);
    int epoll = ::epoll_create1(EPOLL_CLOEXEC);
};

struct operation {
    const char* name;
    std::function<void(const ready_descriptors&)> once; ///< at most two calls
};

std::vector<operation> operations()
{
    static std::array<char, 64> data;
    static iovec part{data.data(), data.size()};
    return {
        {"write and read, socket",
         [](const auto& on) {
             REQUIRE(::write(on.sockets[0], data.data(), data.size()) == data.size());
             REQUIRE(::read(on.sockets[1], data.data(), data.size()) == data.size());
         }},
        {"send and recv",
         [](const auto& on) {
             REQUIRE(::send(on.sockets[0], data.data(), data.size(), MSG_NOSIGNAL) == data.size());
             REQUIRE(::recv(on.sockets[1], data.data(), data.size(), 0) == data.size());
         }},
        {"sendmsg and recvmsg",
         [](const auto& on) {
             msghdr message{};
             message.msg_iov = &part;
             message.msg_iovlen = 1;
             REQUIRE(::sendmsg(on.sockets[0], &message, MSG_NOSIGNAL) == data.size());
             REQUIRE(::recvmsg(on.sockets[1], &message, 0) == data.size());
         }},
        {"write and read, pipe",
         [](const auto& on) {
             REQUIRE(::write(on.pipe[1], data.data(), data.size()) == data.size());
             REQUIRE(::read(on.pipe[0], data.data(), data.size()) == data.size());
         }},
        {"writev and readv, pipe",
         [](const auto& on) {
             REQUIRE(::writev(on.pipe[1], &part, 1) == data.size());
             REQUIRE(::readv(on.pipe[0], &part, 1) == data.size());
         }},
        {"eventfd",
         [](const auto& on) {
             eventfd_t value = 1;
             REQUIRE(::eventfd_write(on.event, value) == 0);
             REQUIRE(::eventfd_read(on.event, &value) == 0);
         }},
        {"read, /dev/zero", [](const auto& on) { REQUIRE(::read(on.zero, data.data(), data.size()) == data.size()); }},
        {"writev and readv, /dev/zero",
         [](const auto& on) {
             REQUIRE(::writev(on.zero, &part, 1) == data.size());
             REQUIRE(::readv(on.zero, &part, 1) == data.size());
         }},
        {"poll",
         [](const auto& on) {
             pollfd one{.fd = on.sockets[0], .events = POLLOUT, .revents = 0};
             REQUIRE(::poll(&one, 1, -1) == 1);
         }},
        {"select",
         [](const auto& on) {
             fd_set set;
             FD_ZERO(&set);
             FD_SET(on.sockets[0], &set);
             REQUIRE(::select(on.sockets[0] + 1, nullptr, &set, nullptr, nullptr) == 1);
         }},
        {"epoll_wait",
         [](const auto& on) {
             epoll_event event;
             REQUIRE(::epoll_wait(on.epoll, &event, 1, -1) == 1);
         }},
    };
}

} // namespace

TEST_CASE("a fiber whose calls need not wait gives way to fibers that are ready, and to the hub's events") {
    for (const auto& each : operations()) {
        CAPTURE(std::string{each.name});
        coir::run([&] {
            const ready_descriptors on;
            std::array<int, 2> quiet{};
            REQUIRE(::pipe(quiet.data()) == 0);
            bool ran = false;
            bool woken = false;
            bool slept = false;
            const coir::fiber other{[&] {
                ran = true;
                char byte;
                woken = ::read(quiet[0], &byte, 1) == 1;
            }};
            const coir::fiber sleeper{[&] {
                coir::this_fiber::sleep_for(1us);
                slept = true;
            }};
            int done = 0;
            while (!ran && ++done < 10'000)
                each.once(on);
            CHECK(done <= 128);
            REQUIRE(::write(quiet[1], "x", 1) == 1);
            for (done = 0; !woken && done < 10'000; ++done)
                each.once(on);
            CHECK(done <= 2 * 1024);
            for (done = 0; !slept && done < 1'000'000; ++done)
                each.once(on);
            CHECK(slept);
            ::close(quiet[0]);
            ::close(quiet[1]);
        });
    }
}

TEST_CASE("inside a no_suspend nobody gives way") {
    coir::run([] {
        const ready_descriptors on;
        bool ran = false;
        const coir::fiber other{[&] { ran = true; }};
        const coir::no_suspend guard;
        for (const auto& each : operations())
            for (int i = 0; i < 200; ++i)
                each.once(on);
        CHECK_FALSE(ran);
    });
}
