// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <string>
#include <system_error>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("deadline");

TEST_CASE("a timeout cuts off every wait inside of it") {
    testing::run([] {
        const auto start = clock::now();
        timeout limit{1s};
        CHECK(limit.deadline() == start + 1s);
        this_fiber::sleep_for(600ms);
        CHECK(!limit.expired());
        CHECK_THROWS_AS(this_fiber::sleep_for(600ms), timed_out);
        CHECK(clock::now() - start == 1s);
        CHECK(limit.expired());
        event other;
        CHECK_THROWS_AS(other.wait(), timed_out);
        CHECK_THROWS_AS(this_fiber::yield(), timed_out);
        CHECK_THROWS_AS(this_fiber::check_cancelled(), timed_out);
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("a timeout is over with its scope") {
    testing::run([] {
        {
            timeout limit{1s};
            CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
        }
        this_fiber::sleep_for(1h);
        this_fiber::yield();
    });
}

TEST_CASE("of nested timeouts the earliest counts, whichever way they nest") {
    testing::run([] {
        const auto start = clock::now();
        {
            timeout outer{2s};
            {
                timeout inner{1s};
                CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
                CHECK(clock::now() - start == 1s);
                CHECK(inner.expired());
                CHECK(!outer.expired());
            }
            CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
            CHECK(clock::now() - start == 2s);
        }
        timeout outer{1s};
        timeout inner{1h};
        CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
        CHECK(clock::now() - start == 3s);
        CHECK(outer.expired());
        CHECK(!inner.expired());
    });
}

TEST_CASE("a timeout takes an instant as well") {
    testing::run([] {
        const auto instant = clock::now() + 5s;
        timeout limit{instant};
        CHECK(limit.deadline() == instant);
        CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
        CHECK(clock::now() == instant);
    });
}

TEST_CASE("a timeout can be given another deadline, earlier or later, or none") {
    testing::run([] {
        const auto start = clock::now();
        timeout limit{1s};
        limit.reset(10s);
        this_fiber::sleep_for(2s);
        limit.reset(start + 3s);
        CHECK(limit.deadline() == start + 3s);
        CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
        CHECK(clock::now() - start == 3s);
        limit.clear();
        CHECK(!limit.expired());
        this_fiber::sleep_for(1h);
        limit.reset(1s);
        CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
    });
}

TEST_CASE("a changed deadline counts for the timeouts inside of it as well") {
    testing::run([] {
        const auto start = clock::now();
        timeout outer{1s};
        timeout inner{10s};
        outer.reset(5s);
        CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
        CHECK(clock::now() - start == 5s);
        outer.clear();
        CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
        CHECK(clock::now() - start == 10s);
    });
}

TEST_CASE("a wait's own deadline that comes first is no time-out of the scope") {
    testing::run([] {
        timeout limit{1h};
        event other;
        CHECK(!other.wait_for(1s));
        this_fiber::sleep_for(1s);
    });
}

TEST_CASE("a timeout of no time lets pass what does not wait") {
    testing::run([] {
        event set;
        set.set();
        timeout limit{0s};
        CHECK(limit.expired());
        set.wait();
        set.reset();
        CHECK_THROWS_AS(set.wait(), timed_out);
    });
}

TEST_CASE("a timeout is not inherited by the fibers started inside of it") {
    testing::run([] {
        fiber child;
        {
            timeout limit{1s};
            child = fiber{[] { this_fiber::sleep_for(1h); }};
            CHECK_THROWS_AS(child.join(), timed_out);
        }
        child.join();
    });
}

TEST_CASE("timed_out is a cancelled, and no std::exception") {
    static_assert(std::is_base_of_v<cancelled, timed_out>);
    static_assert(!std::is_base_of_v<std::exception, timed_out>);
    CHECK(std::string{timed_out{}.what()}.find("timeout") != std::string::npos);
}

TEST_CASE("on a plain thread scopes do nothing") {
    timeout limit{0s};
    shield clean_up;
    CHECK(limit.expired());
    this_fiber::check_cancelled();
    this_fiber::sleep_for(1us);
}

// ---- shield ---------------------------------------------------------------------------------------------------------

TEST_CASE("a shield keeps cancellation out, and it is there again afterwards") {
    testing::run([] {
        std::string log;
        fiber worker{[&] {
            try {
                shield clean_up;
                this_fiber::sleep_for(1s);
                this_fiber::yield();
                this_fiber::check_cancelled();
                log += "cleaned up, ";
            } catch (const cancelled&) {
                log += "disturbed, ";
            }
            CHECK_THROWS_AS(this_fiber::yield(), cancelled);
            log += "then cancelled";
        }};
        this_fiber::yield();
        worker.cancel();
        worker.join();
        CHECK(log == "cleaned up, then cancelled");
    });
}

TEST_CASE("a shield keeps the timeouts outside of it out, not those inside") {
    testing::run([] {
        const auto start = clock::now();
        timeout outer{1s};
        {
            shield clean_up;
            this_fiber::sleep_for(10s);
            {
                timeout inner{5s};
                CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
                CHECK(clock::now() - start == 15s);
            }
            shield again;
            this_fiber::sleep_for(1s);
        }
        CHECK_THROWS_AS(this_fiber::sleep_for(1s), timed_out);
        CHECK(clock::now() - start == 16s);
    });
}

TEST_CASE("a timeout inside of a shield ends a cancelled fiber's clean-up") {
    testing::run([] {
        const auto start = clock::now();
        fiber worker{[] {
            try {
                this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
                shield clean_up;
                timeout limit{3s};
                CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
                throw;
            }
        }};
        this_fiber::yield();
        worker.cancel();
        worker.join();
        CHECK(clock::now() - start == 3s);
    });
}

// ---- with_timeout ---------------------------------------------------------------------------------------------------

TEST_CASE("with_timeout returns what the function returns") {
    testing::run([] {
        CHECK(with_timeout(1s, [] { return 7; }) == 7);
        CHECK(*with_timeout(1s, [] { return std::make_unique<int>(8); }) == 8);
        int target = 0;
        with_timeout(1s, [&]() -> int& { return target; }) = 9;
        CHECK(target == 9);
        with_timeout(1s, [] {});
    });
}

TEST_CASE("with_timeout throws std::errc::timed_out when it cut the function off") {
    testing::run([] {
        const auto start = clock::now();
        try {
            with_timeout(1s, [] { this_fiber::sleep_for(1h); });
            FAIL_CHECK("slept");
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::timed_out);
        }
        CHECK(clock::now() - start == 1s);
        this_fiber::sleep_for(1h);
    });
}

TEST_CASE("with_timeout lets the time-out of a scope around it pass") {
    testing::run([] {
        timeout outer{1s};
        CHECK_THROWS_AS(with_timeout(1h, [] { this_fiber::sleep_for(2h); }), timed_out);
    });
}

TEST_CASE("with_timeout passes on other exceptions, and cancellation") {
    testing::run([] {
        CHECK_THROWS_AS(with_timeout(1s, [] { throw 1; }), int);
        fiber worker{[] { CHECK_THROWS_AS(with_timeout(1h, [] { this_fiber::sleep_for(1h); }), cancelled); }};
        this_fiber::yield();
        worker.cancel();
    });
}

TEST_SUITE_END();
