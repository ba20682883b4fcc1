// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/cancel_scope.hpp>
#include <coir/coroutine.hpp>
#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include "seed.hpp"

#include <atomic>
#include <memory>
#include <random>
#include <semaphore>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("cancel_scope");

TEST_CASE("run returns what the function returns, if nothing cuts it off") {
    testing::run([] {
        cancel_scope scope;
        CHECK(scope.run([] { this_fiber::sleep_for(1h); }));
        CHECK(scope.run([] { return 7; }) == 7);
        CHECK(**scope.run([] { return std::make_unique<int>(8); }) == 8);
        int target = 0;
        CHECK(scope.run([&]() -> int& { return target; }) == &target);
        CHECK_THROWS_WITH(scope.run([] { throw std::runtime_error{"theirs"}; }), "theirs");
        CHECK(!scope.cancel_requested());
    });
}

TEST_CASE("another fiber cancels what is inside, and not the fiber") {
    testing::run([] {
        const auto start = clock::now();
        cancel_scope scope;
        bool went_on = false;
        fiber worker{[&] {
            const bool finished = scope.run([] { this_fiber::sleep_for(1h); });
            CHECK(!finished);
            this_fiber::sleep_for(1s);
            this_fiber::check_cancelled();
            went_on = true;
        }};
        this_fiber::sleep_for(1s);
        scope.cancel();
        worker.join();
        CHECK(went_on);
        CHECK(clock::now() - start == 2s);
    });
}

TEST_CASE("while a scope is cancelled, each wait inside of it throws") {
    testing::run([] {
        cancel_scope scope;
        scope.cancel();
        CHECK(scope.cancel_requested());
        int waits = 0;
        CHECK(!scope.run([&] {
            event other;
            for (int i = 0; i < 2; ++i)
                CHECK_THROWS_AS(this_fiber::sleep_for(1h), cancelled);
            CHECK_THROWS_AS(other.wait(), cancelled);
            CHECK_THROWS_AS(this_fiber::check_cancelled(), cancelled);
            ++waits;
            this_fiber::yield();
            ++waits;
        }));
        CHECK(waits == 1);
        CHECK(!scope.run([] { return std::make_unique<int>((this_fiber::yield(), 1)); }));
        CHECK(scope.run([]() -> int& { throw cancelled{}; }) == nullptr);
    });
}

TEST_CASE("what does not wait is not cut off, and neither is what swallows the cancellation") {
    testing::run([] {
        cancel_scope scope;
        scope.cancel();
        CHECK(scope.run([] { return 3; }) == 3);
        CHECK(scope.run([] {
            try {
                this_fiber::yield();
            } catch (const cancelled&) {
            }
        }));
    });
}

TEST_CASE("a scope's deadline cuts off, and run says so") {
    testing::run([] {
        const auto start = clock::now();
        cancel_scope relative{1s};
        CHECK(relative.deadline() == start + 1s);
        CHECK(!relative.run([] { this_fiber::sleep_for(1h); }));
        CHECK(clock::now() - start == 1s);
        cancel_scope absolute{start + 3s};
        CHECK(!absolute.run([] {
            CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
            this_fiber::yield();
        }));
        CHECK(clock::now() - start == 3s);
        this_fiber::sleep_for(1h);
    });
}

TEST_CASE("try_for and try_until give up and go on") {
    testing::run([] {
        const auto start = clock::now();
        CHECK(!try_for(1s, [] { this_fiber::sleep_for(1h); }));
        CHECK(try_for(2s, [] { this_fiber::sleep_for(1s); }));
        CHECK(try_for(1s, [] { return 5; }) == 5);
        CHECK(clock::now() - start == 2s);
        CHECK(!try_until(start + 5s, [] {
            this_fiber::sleep_for(1h);
            return 5;
        }));
        CHECK(clock::now() - start == 5s);
    });
}

TEST_CASE("the cancellation of the whole fiber passes through") {
    testing::run([] {
        bool stopped_at_the_edge = false;
        cancel_scope scope;
        fiber worker{[&] {
            static_cast<void>(scope.run([] { this_fiber::sleep_for(1h); }));
            stopped_at_the_edge = true;
        }};
        this_fiber::yield();
        SUBCASE("alone") {}
        SUBCASE("and the scope is cancelled as well") {
            scope.cancel();
        }
        worker.cancel();
        worker.join();
        CHECK(!stopped_at_the_edge);
    });
}

TEST_CASE("what was cut off with less than all that ends the fiber goes on as what ends it") {
    testing::run([] {
        // The scope's deadline cuts off, and before it is left the fiber is cancelled. timed_out would be a failure.
        fiber worker{[] {
            static_cast<void>(try_for(1s, [] {
                try {
                    this_fiber::sleep_for(1h);
                } catch (const timed_out&) {
                    const shield clean_up;
                    this_fiber::sleep_for(1s);
                    throw;
                }
            }));
        }};
        this_fiber::sleep_for(1500ms);
        worker.cancel();
        CHECK_NOTHROW(worker.join());
    });
}

TEST_CASE("of nested scopes the one that was cancelled stops it") {
    testing::run([] {
        std::string log;
        cancel_scope outer;
        cancel_scope inner;
        auto work = [&] {
            log.clear();
            const bool finished = outer.run([&] {
                log += inner.run([] { this_fiber::sleep_for(1h); }) ? "inner finished, " : "inner cut off, ";
                this_fiber::yield();
                log += "went on, ";
            });
            log += finished ? "outer finished" : "outer cut off";
        };
        SUBCASE("the inner") {
            fiber worker{work};
            this_fiber::yield();
            inner.cancel();
            worker.join();
            CHECK(log == "inner cut off, went on, outer finished");
        }
        SUBCASE("the outer") {
            fiber worker{work};
            this_fiber::yield();
            outer.cancel();
            worker.join();
            CHECK(log == "outer cut off");
        }
        SUBCASE("both") {
            fiber worker{work};
            this_fiber::yield();
            inner.cancel();
            outer.cancel();
            worker.join();
            CHECK(log == "outer cut off");
        }
    });
}

TEST_CASE("timeouts and scopes nest") {
    testing::run([] {
        const auto start = clock::now();
        cancel_scope scope{5s};
        CHECK(!scope.run([&] {
            {
                timeout limit{1s};
                CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
            }
            CHECK_THROWS_AS(with_timeout(1s, [] { this_fiber::sleep_for(1h); }), std::system_error);
            with_timeout(1h, [] { this_fiber::sleep_for(1h); });
        }));
        CHECK(clock::now() - start == 5s);
        timeout around{1s};
        CHECK_THROWS_AS(static_cast<void>(try_for(1h, [] { this_fiber::sleep_for(2h); })), timed_out);
    });
}

TEST_CASE("a shield keeps a scope's cancellation out, and a scope inside of a shield works") {
    testing::run([] {
        const auto start = clock::now();
        cancel_scope outer;
        cancel_scope inner;
        fiber worker{[&] {
            CHECK(!outer.run([&] {
                {
                    const shield clean_up;
                    this_fiber::sleep_for(2s);
                    CHECK(!inner.run([] { this_fiber::sleep_for(1h); }));
                    this_fiber::sleep_for(1s);
                }
                this_fiber::yield();
                FAIL("not cut off");
            }));
        }};
        this_fiber::sleep_for(1s);
        outer.cancel();
        this_fiber::sleep_for(2s);
        inner.cancel();
        worker.join();
        CHECK(clock::now() - start == 4s);
    });
}

TEST_CASE("a group that is joined inside ends with the scope") {
    testing::run([] {
        const auto start = clock::now();
        int cancelled_members = 0;
        CHECK(!try_for(1s, [&] {
            fiber_group group;
            for (int i = 0; i < 3; ++i)
                group.spawn([&] {
                    try {
                        this_fiber::sleep_for(1h);
                    } catch (const cancelled&) {
                        ++cancelled_members;
                        throw;
                    }
                });
            group.join();
        }));
        CHECK(cancelled_members == 3);
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("a stop_token that stops cancels what is inside") {
    testing::run([] {
        std::stop_source source;
        cancel_scope scope{source.get_token()};
        fiber worker{[&] { CHECK(!scope.run([] { this_fiber::sleep_for(1h); })); }};
        this_fiber::yield();
        source.request_stop();
        CHECK(scope.cancel_requested());
        worker.join();

        cancel_scope late{source.get_token()};
        CHECK(late.cancel_requested());
        CHECK(!late.run([] { this_fiber::yield(); }));
        cancel_scope with_both{1s, std::stop_token{}};
        CHECK(!with_both.run([] { this_fiber::sleep_for(1h); }));
    });
}

TEST_CASE("a scope is used by one at a time, and by one after the other") {
    testing::run([] {
        cancel_scope scope;
        fiber first{[&] { CHECK(scope.run([] { this_fiber::sleep_for(1s); })); }};
        this_fiber::yield();
        CHECK_THROWS_AS(static_cast<void>(scope.run([] {})), std::logic_error);
        first.join();
        CHECK(scope.run([] {}));
    });
}

TEST_CASE("on a plain thread nothing is cut off") {
    cancel_scope scope{0s};
    scope.cancel();
    CHECK(scope.run([] { this_fiber::sleep_for(1us); }));
    CHECK_THROWS_AS(static_cast<void>(scope.run([] { throw cancelled{}; })), cancelled);
}

TEST_CASE("a coroutine's scope is cut off while it runs, and remembered while it does not") {
    testing::run([] {
        cancel_scope scope;
        coroutine<std::string()> inner{[&](auto& self) -> std::string {
            const bool finished = scope.run([&] {
                self.yield("inside");
                this_fiber::sleep_for(1h);
            });
            return finished ? "finished" : "cut off";
        }};
        SUBCASE("while it does not run") {
            {
                fiber beginner{[&] { CHECK(inner.resume() == "inside"); }};
                beginner.join();
            }
            scope.cancel(); // the fiber that began it is gone
            this_fiber::sleep_for(1s);
            CHECK(inner.resume() == "cut off");
        }
        SUBCASE("while another fiber runs it") {
            CHECK(inner.resume() == "inside");
            fiber other{[&] { CHECK(inner.resume() == "cut off"); }};
            this_fiber::yield();
            scope.cancel();
            other.join();
        }
    });
}

TEST_CASE("another thread cancels a scope") {
    coir::run([] {
        for (int i = 0; i < 100; ++i) {
            cancel_scope scope;
            std::binary_semaphore go{0};
            std::thread other{[&] {
                go.acquire();
                scope.cancel();
            }};
            CHECK(!scope.run([&] {
                go.release();
                this_fiber::sleep_for(1h);
            }));
            other.join();
        }
    });
}

TEST_CASE("a token that another thread stops may do so while the scope ends") {
    coir::run([] {
        std::mt19937_64 random{support::seed()};
        for (int i = 0; i < 300; ++i) {
            std::stop_source source;
            std::thread other{[&, spins = random() % 2000] {
                for (auto k = spins; k > 0; --k)
                    std::atomic_signal_fence(std::memory_order_seq_cst);
                source.request_stop();
            }};
            int yields = 0;
            {
                cancel_scope scope{source.get_token()};
                static_cast<void>(scope.run([&, most = random() % 50] {
                    for (unsigned k = 0; k < most; ++k, ++yields)
                        this_fiber::yield();
                }));
            }
            this_fiber::yield(); // whatever was posted comes too late, and does nothing
            other.join();
        }
    });
}

TEST_CASE("threads cancel the scopes of fibers that end meanwhile") {
    coir::run([] {
        for (int i = 0; i < 100; ++i) {
            std::stop_source source;
            fiber_group workers;
            for (int k = 0; k < 4; ++k)
                workers.spawn([&] {
                    cancel_scope scope{source.get_token()};
                    CHECK(!scope.run([] {
                        for (;;)
                            this_fiber::yield();
                    }));
                });
            this_fiber::yield();
            std::thread other{[&] { source.request_stop(); }};
            workers.join();
            other.join();
        }
    });
}

TEST_SUITE_END();
