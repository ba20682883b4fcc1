// SPDX-License-Identifier: BSL-1.0
// errno, the exception being handled, and what else a thread has one of and a fiber needs one of.
#include "descriptors.hpp"

#include <coir/fiber_group.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <poll.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <stdexcept>

TEST_CASE("the patch is active") {
    CHECK(coir::patch::active());
}

TEST_CASE("errno belongs to a fiber, and calls that succeed leave it alone") {
    coir::run([] {
        coir::fiber_group group;
        for (int number = 1; number <= 5; ++number)
            group.spawn([number] {
                stage on{true};
                const auto [a, b] = unix_pair(on);
                for (int i = 0; i < 20; ++i) {
                    errno = number;
                    ::usleep(200);
                    CHECK(errno == number);
                    pollfd item{.fd = a, .events = POLLIN, .revents = 0};
                    CHECK(::poll(&item, 1, 1) == 0);
                    CHECK(errno == number);
                    char byte;
                    auto feeding = on.start([to = b] {
                        errno = 77;
                        must(::write(to, "x", 1));
                        CHECK(errno == 77);
                    });
                    CHECK(::read(a, &byte, 1) == 1);
                    CHECK(errno == number);
                    errno = number;
                    const timespec moment{.tv_sec = 0, .tv_nsec = 1};
                    CHECK(::nanosleep(&moment, nullptr) == 0);
                    ::sched_yield();
                    CHECK(errno == number);
                    CHECK(::read(-1, &byte, 1) == -1);
                    CHECK(errno == EBADF);
                }
            });
        group.join();
    });
}

TEST_CASE("locks leave errno alone, waiting or not") {
    coir::run([] {
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        coir::fiber_group group;
        for (int number = 1; number <= 3; ++number)
            group.spawn([number, &mutex] {
                for (int i = 0; i < 20; ++i) {
                    errno = number;
                    ::pthread_mutex_lock(&mutex);
                    coir::this_fiber::yield();
                    ::pthread_mutex_unlock(&mutex);
                    CHECK(errno == number);
                }
            });
        group.join();
    });
}

TEST_CASE("a call may wait inside of a catch block") {
    coir::run([] {
        coir::fiber_group group;
        for (int number = 1; number <= 4; ++number)
            group.spawn([number] {
                try {
                    throw std::runtime_error{std::to_string(number)};
                } catch (const std::runtime_error& outer) {
                    ::usleep(1000);
                    try {
                        throw number;
                    } catch (int inner) {
                        ::usleep(1000);
                        CHECK(inner == number);
                    }
                    CHECK(outer.what() == std::to_string(number));
                    try {
                        throw; // the one that this fiber handles
                    } catch (const std::runtime_error& same) {
                        CHECK(same.what() == std::to_string(number));
                    }
                }
            });
        group.join();
    });
}

TEST_CASE("bypass makes a fiber's calls block its thread") {
    coir::run([] {
        bool other_ran = false;
        coir::fiber other{[&] { other_ran = true; }};
        {
            const coir::patch::bypass plain;
            ::usleep(2000);
            CHECK_FALSE(other_ran);
        }
        ::usleep(2000);
        CHECK(other_ran);
    });
}

TEST_CASE("thirty fibers on one thread wait at the same time") {
    coir::run([] {
        const auto threads = threads_of_process();
        int waiting = 0;
        coir::fiber_group group;
        for (int i = 0; i < 30; ++i)
            group.spawn([&] {
                ++waiting;
                while (waiting < 30) // none goes on before all do
                    ::usleep(1000);
            });
        group.join();
        CHECK(threads_of_process() == threads);
    });
}
