// SPDX-License-Identifier: BSL-1.0
#include <coir/net/signal.hpp>

#include "child.hpp"

#include <coir/cancel_scope.hpp>
#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/inspect.hpp>
#include <coir/latch.hpp>
#include <coir/net/readiness.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using coir::net::signal_set;
using coir::net::stop_on_signal;

namespace {

int error_of(auto&& call)
{
    try {
        call();
    } catch (const std::system_error& error) {
        return error.code().value();
    }
    return 0;
}

using handler = void (*)(int);

bool is_handled_by(int signal, handler expected)
{
    struct sigaction now {};
    ::sigaction(signal, nullptr, &now);
    return now.sa_handler == expected;
}

sigset_t blocked_here()
{
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return mask;
}

/// To the whole process: the kernel chooses the thread.
void send(int signal)
{
    REQUIRE(::kill(::getpid(), signal) == 0);
}

/// Until as many fibers of this hub as that wait for a descriptor to become readable.
void until_waiting(std::size_t count)
{
    for (;;) {
        std::size_t waiting = 0;
        for (const auto& each : coir::fibers())
            waiting += each.waiting_for.what == std::string_view{"readable"};
        if (waiting == count)
            return;
        coir::this_fiber::sleep_for(1ms);
    }
}

} // namespace

TEST_SUITE_BEGIN("signal");

TEST_CASE("a fiber waits for a signal, and others run meanwhile") {
    coir::run([] {
        signal_set set{SIGUSR1, SIGUSR2};
        int received = 0;
        coir::fiber waiter{[&] { received = set.wait(); }};
        until_waiting(1);
        CHECK(received == 0);
        send(SIGUSR2);
        waiter.join();
        CHECK(received == SIGUSR2);
    });
}

TEST_CASE("a signal that came before the wait is kept until it is taken") {
    coir::run([] {
        signal_set set{SIGUSR1};
        CHECK_FALSE(set.try_wait());
        send(SIGUSR1);
        send(SIGUSR1);
        CHECK(set.wait() == SIGUSR1);
        CHECK(set.try_wait() == SIGUSR1);
        CHECK_FALSE(set.try_wait());
    });
}

TEST_CASE("each set is told of a signal, and only of its own") {
    coir::run([] {
        signal_set one{SIGUSR1};
        signal_set two{SIGUSR1, SIGUSR2};
        signal_set other{SIGUSR2};
        send(SIGUSR1);
        CHECK(one.wait() == SIGUSR1);
        CHECK(two.wait() == SIGUSR1);
        CHECK_FALSE(other.try_wait());
        CHECK_FALSE(one.try_wait());
    });
}

TEST_CASE("several that wait for one set are given a signal each") {
    coir::run([] {
        signal_set set{SIGUSR1};
        int woken = 0;
        coir::fiber_group waiters;
        for (int i = 0; i < 3; ++i)
            waiters.spawn([&] {
                set.wait();
                ++woken;
            });
        until_waiting(3);
        send(SIGUSR1);
        until_waiting(2);
        CHECK(woken == 1);
        send(SIGUSR1);
        send(SIGUSR1);
        waiters.join();
        CHECK(woken == 3);
        CHECK_FALSE(set.try_wait());
    });
}

TEST_CASE("a signal is given while others keep coming") {
    coir::run([] {
        constexpr int many = 10'000;
        signal_set set{SIGUSR1};
        std::atomic<int> sent = 0;
        // Sent to its own thread, a signal is delivered before tgkill returns: none is merged with another.
        std::thread sender{[&] {
            for (; sent < many; ++sent)
                ::pthread_kill(::pthread_self(), SIGUSR1);
        }};
        for (int received = 0; received < many; ++received)
            CHECK_EQ(set.wait(), SIGUSR1);
        sender.join();
        CHECK_FALSE(set.try_wait());
    });
}

TEST_CASE("a plain thread waits for a signal too") {
    signal_set set{SIGUSR1};
    int received = 0;
    std::thread waiter{[&] { received = set.wait(); }};
    send(SIGUSR1);
    waiter.join();
    CHECK(received == SIGUSR1);
}

TEST_CASE("signals reach fibers of every hub, and plain threads, whichever thread the kernel interrupts") {
    constexpr std::size_t hubs = 3;
    constexpr int rounds = 200;
    std::atomic<int> received = 0;
    coir::latch ready{hubs + 2};
    const auto receive_all = [&] {
        signal_set set{SIGUSR1};
        ready.arrive_and_wait();
        for (int round = 0; round < rounds; ++round) {
            CHECK_EQ(set.wait(), SIGUSR1);
            ++received;
        }
    };
    std::thread plain{receive_all};
    coir::runtime fibers{{.hubs = hubs}};
    for (std::size_t i = 0; i < hubs; ++i)
        fibers.hub(i).post(receive_all);
    std::thread sender{[&] {
        ready.arrive_and_wait();
        // One at a time, so that the kernel merges none.
        for (int round = 0; round < rounds; ++round) {
            send(SIGUSR1);
            while (received < (round + 1) * static_cast<int>(hubs + 1))
                std::this_thread::yield();
        }
    }};
    fibers.run();
    plain.join();
    sender.join();
    CHECK(received == rounds * static_cast<int>(hubs + 1));
}

TEST_CASE("sets come and go on several threads while signals arrive") {
    std::atomic<bool> done = false;
    const signal_set always{SIGUSR1}; // so that no signal finds the default, which ends the process
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] {
            for (int round = 0; round < 300; ++round) {
                signal_set own{SIGUSR1, SIGUSR2};
                ::pthread_kill(::pthread_self(), SIGUSR1);
                CHECK_EQ(own.wait(), SIGUSR1);
            }
        });
    std::thread sender{[&] {
        while (!done) {
            send(SIGUSR1);
            std::this_thread::yield();
        }
    }};
    for (auto& each : threads)
        each.join();
    done = true;
    sender.join();
}

TEST_CASE("waiting for a signal is cancelled, and ended by a deadline") {
    coir::run([] {
        signal_set set{SIGUSR1};
        coir::fiber waiter{[&] { set.wait(); }};
        until_waiting(1);
        waiter.cancel();
        waiter.join();
        coir::timeout limit{1ms};
        CHECK_THROWS_AS(set.wait(), coir::timed_out);
    });
}

TEST_CASE("the last set puts back what was there before") {
    static std::atomic<int> calls = 0;
    const handler own = [](int) { ++calls; };
    const auto before = ::signal(SIGUSR1, own);
    {
        signal_set outer{SIGUSR1};
        {
            const signal_set inner{SIGUSR1, SIGUSR2};
            CHECK_FALSE(is_handled_by(SIGUSR2, SIG_DFL));
        }
        CHECK(is_handled_by(SIGUSR2, SIG_DFL));
        CHECK_FALSE(is_handled_by(SIGUSR1, own));
        send(SIGUSR1);
        CHECK(outer.wait() == SIGUSR1);
        CHECK(calls == 0);
    }
    CHECK(is_handled_by(SIGUSR1, own));
    send(SIGUSR1);
    CHECK(calls == 1);
    {
        const signal_set set{SIGUSR1};
        ::signal(SIGUSR1, SIG_IGN); // by somebody who came later
    }
    CHECK(is_handled_by(SIGUSR1, SIG_IGN));
    ::signal(SIGUSR1, before);
}

TEST_CASE("a set can be moved, also while somebody has its descriptor") {
    coir::run([] {
        signal_set first{SIGUSR1};
        const int descriptor = first.native_handle();
        signal_set second{std::move(first)};
        send(SIGUSR1);
        pollfd readable{.fd = descriptor, .events = POLLIN, .revents = 0};
        CHECK(::poll(&readable, 1, 0) == 1);
        CHECK(second.native_handle() == descriptor);
        CHECK(second.wait() == SIGUSR1);
        CHECK(::poll(&readable, 1, 0) == 0);
    });
}

TEST_CASE("signals that cannot be waited for are refused, and nothing stays changed") {
    for (const int signal : {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 32, 0, -1, NSIG, 1000}) {
        CAPTURE(signal);
        CHECK(error_of([&] { signal_set{SIGUSR1, signal}; }) == EINVAL);
        CHECK(is_handled_by(SIGUSR1, SIG_DFL));
    }
    try {
        signal_set{SIGKILL};
        FAIL("a set for SIGKILL");
    } catch (const std::system_error& error) {
        CHECK(std::string_view{error.what()}.find("SIGKILL") != std::string_view::npos);
    }
}

TEST_CASE("in virtual time there are no signals to wait for") {
    coir::testing::run([] {
        signal_set set{SIGUSR1};
        CHECK(error_of([&] { set.wait(); }) == EPERM);
        CHECK_FALSE(set.try_wait());
    });
}

TEST_CASE("a set blocks no signal, so children start with none blocked and none caught") {
    const auto before = blocked_here();
    const signal_set set{SIGUSR1, SIGTERM};
    const auto after = blocked_here();
    for (int signal = 1; signal < NSIG; ++signal)
        CHECK(::sigismember(&after, signal) == ::sigismember(&before, signal));
    const int status = std::system("kill -TERM $$; exit 1");
    CHECK(WIFSIGNALED(status));
}

#ifndef __SANITIZE_THREAD__ // under which a forked child is delivered no signals
TEST_CASE("in a forked child a set is told of the child's signals, and the parent's of none of them") {
    signal_set set{SIGUSR1};
    send(SIGUSR1);
    const int status = support::status_of([&] {
        if (set.try_wait()) // the parent's
            return 1;
        ::raise(SIGUSR1);
        return set.try_wait() == SIGUSR1 && !set.try_wait() ? 0 : 2;
    });
    CHECK(status == 0);
    CHECK(set.wait() == SIGUSR1);
    CHECK_FALSE(set.try_wait());
}
#endif

TEST_CASE("a signal becomes a stop, and the next one is the program's again") {
    static std::atomic<int> calls = 0;
    const auto before = ::signal(SIGTERM, [](int) { ++calls; });
    coir::run([] {
        stop_on_signal ending;
        coir::cancel_scope serving{ending.get_token()};
        coir::fiber sender{[] { send(SIGTERM); }};
        CHECK_FALSE(serving.run([] { coir::this_fiber::sleep_for(1h); }));
        CHECK(ending.signal() == SIGTERM);
        CHECK(ending.get_token().stop_requested());
        CHECK(calls == 0);
        send(SIGTERM);
        CHECK(calls == 1);
    });
    ::signal(SIGTERM, before);
}

TEST_CASE("a stop that no signal caused leaves nothing behind") {
    coir::run([] {
        {
            stop_on_signal ending{SIGUSR1};
            until_waiting(1);
            ending.source().request_stop();
            CHECK(ending.get_token().stop_requested());
            CHECK(ending.signal() == 0);
        }
        {
            const stop_on_signal not_even_started{SIGUSR1};
        }
        CHECK(is_handled_by(SIGUSR1, SIG_DFL));
    });
    CHECK_THROWS_AS(stop_on_signal{SIGUSR1}, std::logic_error);
    CHECK(is_handled_by(SIGUSR1, SIG_DFL));
}

TEST_SUITE_END();
