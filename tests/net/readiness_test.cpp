// SPDX-License-Identifier: BSL-1.0
#include "waiting.hpp"

#include <coir/net/readiness.hpp>

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <initializer_list>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using coir::net::wait_status;

namespace {

/// A connected pair of sockets. Closing goes by the rules: first about_to_close.
struct socket_pair {
    std::array<int, 2> ends{};
    socket_pair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0); }
    socket_pair(const socket_pair&) = delete;
    socket_pair& operator=(const socket_pair&) = delete;
    ~socket_pair()
    {
        close(0);
        close(1);
    }
    void close(std::size_t which)
    {
        if (ends[which] < 0)
            return;
        coir::net::about_to_close(ends[which]);
        ::close(ends[which]);
        ends[which] = -1;
    }
    void feed() const { REQUIRE(::send(ends[1], "x", 1, MSG_NOSIGNAL) == 1); }
    bool take() const
    {
        char byte;
        return ::recv(ends[0], &byte, 1, MSG_DONTWAIT) == 1;
    }
};

} // namespace

TEST_CASE("a fiber waits until its descriptor can be read") {
    coir::run([] {
        socket_pair sockets;
        bool read = false;
        coir::fiber reader{[&] {
            coir::net::wait_readable(sockets.ends[0]);
            read = sockets.take();
        }};
        until_waiting(reader.get_id());
        CHECK_FALSE(read);
        sockets.feed();
        reader.join();
        CHECK(read);
    });
}

TEST_CASE("a fiber waits until its descriptor can be written") {
    coir::run([] {
        socket_pair sockets;
        std::vector<char> bytes(4096);
        while (::send(sockets.ends[0], bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {}
        bool written = false;
        coir::fiber writer{[&] {
            while (::send(sockets.ends[0], "x", 1, MSG_NOSIGNAL) != 1)
                coir::net::wait_writable(sockets.ends[0]);
            written = true;
        }};
        until_waiting(writer.get_id());
        CHECK_FALSE(written);
        while (::recv(sockets.ends[1], bytes.data(), bytes.size(), 0) > 0) {}
        writer.join();
        CHECK(written);
    });
}

TEST_CASE("all who wait for a descriptor are woken, readers by what is to read only") {
    coir::run([] {
        socket_pair sockets;
        std::vector<char> bytes(4096);
        while (::send(sockets.ends[0], bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {}
        int readers = 0;
        bool writer_woken = false;
        coir::fiber_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn([&] {
                CHECK(coir::net::wait_ready(sockets.ends[0], POLLIN) == wait_status::ready);
                ++readers;
            });
        coir::fiber writer{[&] {
            CHECK(coir::net::wait_ready(sockets.ends[0], POLLOUT) == wait_status::ready);
            writer_woken = true;
        }};
        until_waiting(writer.get_id());
        sockets.feed();
        group.join();
        CHECK(readers == 3);
        CHECK_FALSE(writer_woken);
        while (::recv(sockets.ends[1], bytes.data(), bytes.size(), 0) > 0) {}
        writer.join();
        CHECK(writer_woken);
    });
}

TEST_CASE("a wait ends at its deadline, at a timeout's, and on cancellation") {
    coir::run([] {
        socket_pair sockets;
        const int descriptor = sockets.ends[0];
        CHECK(coir::net::wait_ready(descriptor, POLLIN, coir::clock::now() + 2ms) == wait_status::timed_out);
        {
            const coir::timeout limit{2ms};
            CHECK(coir::net::wait_ready(descriptor, POLLIN) == wait_status::deadline);
            CHECK_THROWS_AS(coir::net::wait_readable(descriptor), coir::timed_out);
        }
        auto status = wait_status::ready;
        coir::fiber waiting{[&] {
            status = coir::net::wait_ready(descriptor, POLLIN);
            coir::net::wait_readable(descriptor); // throws
            FAIL_CHECK("cancelled, and went on");
        }};
        until_waiting(waiting.get_id());
        waiting.cancel();
        waiting.join();
        CHECK(status == wait_status::cancelled);
        sockets.feed();
        coir::net::wait_readable(descriptor);
        CHECK(sockets.take());
    });
}

TEST_CASE("a hang-up wakes everyone, whatever they wait for") {
    coir::run([] {
        socket_pair sockets;
        coir::fiber_group group;
        for (const short events : std::initializer_list<short>{POLLIN, POLLPRI, 0})
            group.spawn([&, events] { CHECK(coir::net::wait_ready(sockets.ends[0], events) == wait_status::ready); });
        coir::this_fiber::sleep_for(2ms);
        sockets.close(1);
        group.join();
    });
}

TEST_CASE("about_to_close wakes who waits, with closed, and the next owner of the number starts afresh") {
    coir::run([] {
        socket_pair sockets;
        const int number = sockets.ends[0];
        auto status = wait_status::ready;
        std::error_code code;
        coir::fiber_group group;
        group.spawn([&] { status = coir::net::wait_ready(number, POLLIN); });
        group.spawn([&] { code = code_of([&] { coir::net::wait_readable(number); }); });
        coir::this_fiber::sleep_for(2ms);
        coir::net::about_to_close(number);
        // Before anybody has run, the number belongs to another socket already, and that is not ready.
        const socket_pair next;
        REQUIRE(::dup3(next.ends[0], number, O_CLOEXEC) == number);
        group.join();
        CHECK(status == wait_status::closed);
        CHECK(code == std::errc::bad_file_descriptor);

        coir::fiber waiting{[&] { coir::net::wait_readable(number); }};
        until_waiting(waiting.get_id());
        CHECK_FALSE(waiting.join_for(3ms));
        next.feed();
        waiting.join();
    });
}

TEST_CASE("a close between the event and who waited for it is told to all of them") {
    coir::run([] {
        socket_pair sockets;
        socket_pair quiet;
        std::array<pollfd, 2> both{{{.fd = quiet.ends[0], .events = POLLIN, .revents = 0},
                                    {.fd = sockets.ends[0], .events = POLLIN, .revents = 0}}};
        auto first = wait_status::timed_out;
        auto one = wait_status::timed_out;
        auto any = wait_status::timed_out;
        // One event wakes all three, in the order of their arrival.
        const coir::fiber closer{[&] {
            first = coir::net::wait_ready(sockets.ends[0], POLLIN);
            sockets.close(0);
        }};
        const coir::fiber for_one{[&] { one = coir::net::wait_ready(sockets.ends[0], POLLIN); }};
        coir::fiber for_any{[&] { any = coir::net::wait_any_ready(both); }};
        until_waiting(for_any.get_id());
        sockets.feed();
        for_any.join();
        CHECK(first == wait_status::ready);
        CHECK(one == wait_status::closed);
        CHECK(any == wait_status::closed);
        CHECK(both[0].revents == 0);
        CHECK(both[1].revents == POLLNVAL);
    });
}

TEST_CASE("an event of the file that had the number before does not wake its next owner") {
    coir::run([] {
        socket_pair sockets;
        const int number = sockets.ends[0];
        CHECK(coir::net::wait_ready(number, POLLIN, coir::clock::now() + 1ms) == wait_status::timed_out);
        const int duplicate = ::dup(number); // keeps the old file alive, and its events coming
        sockets.feed();                      // seen by epoll, not yet by the hub
        coir::net::about_to_close(number);
        const socket_pair next;
        REQUIRE(::dup3(next.ends[0], number, O_CLOEXEC) == number);
        CHECK(coir::net::wait_ready(number, POLLIN, coir::clock::now() + 5ms) == wait_status::timed_out);
        sockets.feed();
        CHECK(coir::net::wait_ready(number, POLLIN, coir::clock::now() + 5ms) == wait_status::timed_out);
        ::close(duplicate);
    });
}

TEST_CASE("about_to_close from another thread, and for a range") {
    coir::run([] {
        socket_pair sockets;
        socket_pair others;
        std::atomic<bool> waiting{false};
        std::thread closer{[&] {
            while (!waiting)
                std::this_thread::yield();
            coir::net::about_to_close(sockets.ends[0]);
        }};
        coir::fiber telling{[&] {
            coir::this_fiber::sleep_for(2ms);
            waiting = true;
        }};
        CHECK(coir::net::wait_ready(sockets.ends[0], POLLIN) == wait_status::closed);
        closer.join();
        telling.join();

        coir::fiber_group group;
        for (const int each : {sockets.ends[0], others.ends[0], others.ends[1]})
            group.spawn([each] { CHECK(coir::net::wait_ready(each, POLLIN) == wait_status::closed); });
        coir::this_fiber::sleep_for(2ms);
        coir::net::about_to_close_range(3, ~0U);
        group.join();
        // Nothing has been closed in fact.
        others.feed();
        coir::net::wait_readable(others.ends[0]);
    });
}

TEST_CASE("what cannot be waited for says so") {
    coir::run([] {
        const int file = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        CHECK(coir::net::wait_ready(file, POLLIN) == wait_status::unsupported);
        CHECK(coir::net::wait_ready(1 << 20, POLLIN) == wait_status::closed);
        CHECK(coir::net::wait_ready(-1, POLLIN) == wait_status::unsupported);
        CHECK(coir::net::wait_ready(1 << 30, POLLIN) == wait_status::unsupported);
        CHECK(code_of([] { coir::net::wait_readable(1 << 20); }) == std::errc::bad_file_descriptor);
        ::close(file);
    });
    coir::testing::run([] { CHECK(coir::net::wait_ready(0, POLLIN) == wait_status::unsupported); });
    coir::net::about_to_close(-1);
    coir::net::about_to_close(1 << 30);
}

TEST_CASE("waiting for any of none, one or many descriptors, passing over negative ones") {
    coir::run([] {
        const auto soon = [] { return coir::clock::now() + 2ms; };
        CHECK(coir::net::wait_any_ready({}, soon()) == wait_status::timed_out);
        std::vector<pollfd> items{{.fd = -1, .events = POLLIN, .revents = 0}};
        CHECK(coir::net::wait_any_ready(items, soon()) == wait_status::timed_out);

        std::vector<std::unique_ptr<socket_pair>> pairs;
        for (int i = 0; i < 30; ++i) {
            pairs.push_back(std::make_unique<socket_pair>());
            items.push_back({.fd = pairs.back()->ends[0], .events = POLLIN, .revents = 0});
            items.push_back({.fd = pairs.back()->ends[0], .events = POLLPRI, .revents = 0}); // a second time
        }
        CHECK(coir::net::wait_any_ready(std::span{items}.first(2), soon()) == wait_status::timed_out);
        CHECK(coir::net::wait_any_ready(items, soon()) == wait_status::timed_out);
        for (const std::size_t which : std::initializer_list<std::size_t>{0, 7, 29}) {
            auto status = wait_status::timed_out;
            coir::fiber waiting{[&] { status = coir::net::wait_any_ready(items); }};
            until_waiting(waiting.get_id());
            pairs[which]->feed();
            waiting.join();
            CHECK(status == wait_status::ready);
            CHECK(pairs[which]->take());
        }
        auto status = wait_status::ready;
        coir::fiber waiting{[&] { status = coir::net::wait_any_ready(items); }};
        until_waiting(waiting.get_id());
        pairs[3]->close(0);
        waiting.join();
        CHECK(status == wait_status::closed);
        for (const auto& item : items)
            CHECK(item.revents == (item.fd == items[7].fd ? POLLNVAL : 0));
        // And now it is closed from the start.
        CHECK(coir::net::wait_any_ready(items) == wait_status::closed);
        CHECK(items[7].revents == POLLNVAL);
        CHECK(items[1].revents == 0);
    });
}

TEST_CASE("two hubs wait for one descriptor, and both are woken") {
    socket_pair sockets;
    std::atomic<int> waiting{0};
    std::atomic<int> woken{0};
    const auto hub = [&] {
        coir::run([&] {
            coir::fiber reader{[&] {
                ++waiting;
                while (!sockets.take())
                    CHECK(coir::net::wait_ready(sockets.ends[0], POLLIN) == wait_status::ready);
                ++woken;
            }};
            reader.join();
        });
    };
    std::thread one{hub};
    std::thread two{hub};
    while (waiting != 2)
        std::this_thread::yield();
    std::this_thread::sleep_for(5ms);
    sockets.feed();
    sockets.feed();
    one.join();
    two.join();
    CHECK(woken == 2);
}

TEST_CASE("a hub that other threads keep awake looks at its descriptors all the same") {
    socket_pair sockets;
    std::atomic<bool> waiting{false};
    std::atomic<bool> read{false};
    coir::runtime background{{.hubs = 1}};
    background.start();
    background.spawn([&] {
        waiting = true;
        CHECK(coir::net::wait_ready(sockets.ends[0], POLLIN) == wait_status::ready);
        read = true;
    });
    while (!waiting)
        std::this_thread::yield();
    std::vector<std::thread> others;
    for (int i = 0; i < 2; ++i)
        others.emplace_back([&] {
            while (!read)
                background.hub(0).post([] {});
        });
    sockets.feed();
    for (auto& each : others)
        each.join();
}

TEST_CASE("a hub that has watched a descriptor ends while another waits for it") {
    socket_pair sockets;
    std::atomic<int> step{0};
    std::thread first{[&] {
        coir::run([&] {
            CHECK(coir::net::wait_ready(sockets.ends[0], POLLIN, coir::clock::now() + 1ms) == wait_status::timed_out);
            step = 1; // it is watched here now
            while (step != 2)
                coir::this_fiber::sleep_for(1ms);
        });
        step = 3;
    }};
    std::thread second{[&] {
        while (step != 1)
            std::this_thread::yield();
        coir::run([&] {
            coir::fiber reader{[&] {
                while (!sockets.take())
                    CHECK(coir::net::wait_ready(sockets.ends[0], POLLIN) == wait_status::ready);
            }};
            until_waiting(reader.get_id());
            step = 2;
            while (step != 3)
                coir::this_fiber::sleep_for(1ms);
            until_waiting(reader.get_id()); // again, and on its own hub now
            sockets.feed();
            reader.join();
        });
    }};
    first.join();
    second.join();
    CHECK(step == 3);
}

TEST_CASE("many hubs, many descriptors, each byte once") {
    constexpr int hubs = 3;
    constexpr int bytes = 2000;
    socket_pair sockets;
    std::atomic<int> taken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < hubs; ++i)
        threads.emplace_back([&] {
            coir::run([&] {
                coir::fiber_group group;
                for (int n = 0; n < 4; ++n)
                    group.spawn([&] {
                        while (taken < bytes) {
                            if (sockets.take())
                                ++taken;
                            else
                                coir::net::wait_ready(sockets.ends[0], POLLIN, coir::clock::now() + 20ms);
                        }
                    });
                group.join();
            });
        });
    for (int i = 0; i < bytes;) {
        if (::send(sockets.ends[1], "x", 1, MSG_NOSIGNAL) == 1)
            ++i;
        if (i % 16 == 0)
            std::this_thread::yield();
    }
    for (auto& thread : threads)
        thread.join();
    CHECK(taken == bytes);
}
