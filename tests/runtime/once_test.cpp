// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/once.hpp>
#include <coir/testing.hpp>

#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("once");

TEST_CASE("of all calls one runs the function, and the others wait until it has returned") {
    testing::run([] {
        once_flag flag;
        int runs = 0;
        fiber_group group;
        for (int i = 0; i < 5; ++i)
            group.spawn([&] {
                call_once(flag, [&] {
                    this_fiber::sleep_for(1s);
                    ++runs;
                });
                CHECK(runs == 1);
            });
        group.join();
        const no_suspend from_now_on;
        call_once(flag, [&] { ++runs; });
        CHECK(runs == 1);
    });
}

TEST_CASE("a call that throws lets the next one try, in order of arrival") {
    testing::run([] {
        once_flag flag;
        std::string log;
        auto attempt = [&](char letter, bool succeeds) {
            try {
                call_once(flag, [&] {
                    this_fiber::sleep_for(1s);
                    log += letter;
                    if (!succeeds)
                        throw std::runtime_error{"not yet"};
                });
                log += '.';
            } catch (const std::runtime_error&) {
                log += '!';
            }
        };
        fiber a{attempt, 'a', false};
        fiber b{attempt, 'b', false};
        fiber c{attempt, 'c', true};
        fiber d{attempt, 'd', true};
        for (auto* each : {&a, &b, &c, &d})
            each->join();
        CHECK(log == "a!b!c..");
    });
}

TEST_CASE("a call that throws while nobody waits leaves the flag as it was") {
    testing::run([] {
        once_flag flag;
        CHECK_THROWS_AS(call_once(flag, [] { throw 1; }), int);
        bool ran = false;
        call_once(flag, [&] { ran = true; });
        CHECK(ran);
    });
}

TEST_CASE("who is cancelled in the function leaves its turn to the next") {
    testing::run([] {
        once_flag flag;
        int runs = 0;
        fiber first{[&] { call_once(flag, [] { this_fiber::sleep_for(1h); }); }};
        fiber second{[&] { call_once(flag, [&] { ++runs; }); }};
        this_fiber::yield();
        first.cancel();
        second.join();
        CHECK(runs == 1);
    });
}

TEST_CASE("who is cancelled or cut off while waiting does not get a turn") {
    testing::run([] {
        once_flag flag;
        fiber first{[&] {
            CHECK_THROWS_AS(call_once(flag,
                                      [] {
                                          this_fiber::sleep_for(2s);
                                          throw 1;
                                      }),
                            int);
        }};
        fiber is_cancelled{[&] { CHECK_THROWS_AS(call_once(flag, [] { FAIL_CHECK("ran"); }), cancelled); }};
        fiber late{[&] {
            const timeout limit{1s};
            CHECK_THROWS_AS(call_once(flag, [] { FAIL_CHECK("ran"); }), timed_out);
        }};
        bool ran = false;
        fiber last{[&] { call_once(flag, [&] { ran = true; }); }};
        this_fiber::yield();
        is_cancelled.cancel();
        last.join();
        CHECK(ran);
        first.join();
    });
}

TEST_CASE("a function that calls with its own flag again is refused, and has failed") {
    testing::run([] {
        once_flag flag;
        try {
            call_once(flag, [&] { call_once(flag, [] {}); });
            FAIL_CHECK("called again");
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::resource_deadlock_would_occur);
        }
        bool ran = false;
        call_once(flag, [&] { ran = true; });
        CHECK(ran);
    });
}

TEST_CASE("fibers of two hubs and plain threads find the work done, by one of them") {
    for (int i = 0; i < 50; ++i) {
        once_flag flag;
        int made = 0; // not atomic: written in the one call, read after it
        auto work = [&] {
            call_once(flag, [&] {
                this_fiber::yield();
                ++made;
            });
            CHECK(made == 1);
        };
        auto hub = [&] {
            coir::run([&] {
                fiber a{work};
                fiber b{work};
            });
        };
        std::thread plain{work};
        std::thread other{hub};
        hub();
        plain.join();
        other.join();
    }
}

TEST_SUITE_END();
