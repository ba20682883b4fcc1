// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <array>
#include <cerrno>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <unordered_set>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

/// Notes that a scope was left, however that came about.
struct at_exit {
    std::string& log;
    const char* what;
    ~at_exit() { log += what; }
};

std::error_code error_of(auto&& function)
{
    try {
        function();
    } catch (const std::system_error& error) {
        return error.code();
    }
    return {};
}

} // namespace

TEST_SUITE_BEGIN("fiber");

// ---- starting, running and ending -----------------------------------------------------------------------------------

TEST_CASE("a fiber starts when its creator lets it, not before") {
    testing::run([] {
        std::string log;
        fiber other{[&] { log += "fiber "; }};
        log += "creator ";
        other.join();
        CHECK(log == "creator fiber ");
    });
}

TEST_CASE("fibers that yield take turns in the order they were started in") {
    testing::run([] {
        std::string log;
        auto speak = [&](char letter) {
            for (int i = 0; i < 3; ++i) {
                log += letter;
                this_fiber::yield();
            }
        };
        fiber a{speak, 'a'};
        fiber b{speak, 'b'};
        fiber c{speak, 'c'};
        a.join();
        b.join();
        c.join();
        CHECK(log == "abcabcabc");
    });
}

TEST_CASE("arguments are copied or moved into the fiber, and references are passed by std::ref") {
    testing::run([] {
        int by_reference = 0;
        std::string copied = "copied";
        auto moved = std::make_unique<int>(7);
        fiber other{[](int& target, std::string text, std::unique_ptr<int> number) {
                        target = *number + static_cast<int>(text.size());
                    },
                    std::ref(by_reference), copied, std::move(moved)};
        copied.clear();
        other.join();
        CHECK(by_reference == 13);
        CHECK(!moved);
    });
}

TEST_CASE("a member function and its object make a fiber") {
    struct counter {
        int count = 0;
        void add(int number) { count += number; }
    };
    testing::run([] {
        counter hits;
        fiber other{&counter::add, &hits, 5};
        other.join();
        CHECK(hits.count == 5);
    });
}

TEST_CASE("the callable is destroyed in its fiber and before join returns") {
    testing::run([] {
        struct destroyed_in {
            fiber_id* where;
            explicit destroyed_in(fiber_id* target) : where{target} {}
            destroyed_in(destroyed_in&& other) noexcept : where{std::exchange(other.where, nullptr)} {}
            ~destroyed_in()
            {
                if (where)
                    *where = this_fiber::get_id();
            }
        };
        fiber_id where;
        fiber other{[probe = destroyed_in{&where}] {}};
        const auto id = other.get_id();
        other.join();
        CHECK(where == id);
    });
}

TEST_CASE("a callable that cannot be moved to the fiber's stack starts no fiber") {
    struct immovable_in_the_end {
        int moves_left = 2;
        immovable_in_the_end() = default;
        immovable_in_the_end(immovable_in_the_end&& other) : moves_left{other.moves_left - 1}
        {
            if (moves_left < 0)
                throw std::runtime_error{"no further"};
        }
        void operator()() {}
    };
    testing::run([] {
        for (int moves = 0; moves < 3; ++moves) {
            immovable_in_the_end callable;
            callable.moves_left = moves;
            try {
                fiber other{std::move(callable)};
                other.join();
            } catch (const std::runtime_error& error) {
                CHECK(std::string{error.what()} == "no further");
            }
        }
    });
}

TEST_CASE("a callable as large as the stack is refused") {
    testing::run([] {
        std::array<char, 16 * 1024> much{};
        CHECK_THROWS_AS(fiber({.stack_size = 16 * 1024}, [much] { static_cast<void>(much); }), std::length_error);
    });
}

TEST_CASE("an over-aligned callable is aligned") {
    struct alignas(64) aligned {
        char bytes[64];
    };
    testing::run([] {
        bool good = false;
        fiber other{[&good, value = aligned{}] { good = reinterpret_cast<std::uintptr_t>(&value) % 64 == 0; }};
        other.join();
        CHECK(good);
    });
}

TEST_CASE("outside of a runtime no fiber can be started") {
    CHECK_THROWS_AS(fiber([] {}), std::logic_error);
}

TEST_CASE("a fiber may have the stack that it asks for") {
    testing::run([] {
        constexpr std::size_t size = 4 << 20;
        fiber other{{.stack_size = size}, [] {
                        volatile char block[size / 2];
                        for (std::size_t i = 0; i < sizeof block; i += 1024)
                            block[i] = 1;
                        CHECK(block[0] == 1);
                    }};
        other.join();
    });
}

TEST_CASE("thousands of fibers wait at once and all of them end") {
    testing::run([] {
        constexpr int count = 5000; // ThreadSanitizer can tell 8128 of them apart
        event go;
        int ended = 0;
        std::vector<fiber> fibers;
        for (int i = 0; i < count; ++i)
            fibers.emplace_back(fiber_options{.stack_size = 32 * 1024}, [&] {
                go.wait();
                ++ended;
            });
        this_fiber::sleep_for(1s);
        go.set();
        for (auto& each : fibers)
            each.join();
        CHECK(ended == count);
    });
}

TEST_CASE("a fiber may start fibers, and those others") {
    testing::run([] {
        int leaves = 0;
        std::function<void(int)> grow = [&](int depth) {
            if (depth == 0) {
                ++leaves;
                return;
            }
            fiber left{grow, depth - 1};
            fiber right{grow, depth - 1};
            left.join();
            right.join();
        };
        grow(8);
        CHECK(leaves == 256);
    });
}

// ---- join, join_for, detach, destruction ----------------------------------------------------------------------------

TEST_CASE("join waits until the fiber has ended and makes the handle empty") {
    testing::run([] {
        const auto start = clock::now();
        fiber sleeper{[] { this_fiber::sleep_for(1h); }};
        CHECK(sleeper.joinable());
        sleeper.join();
        CHECK(clock::now() - start == 1h);
        CHECK(!sleeper.joinable());
        CHECK(sleeper.get_id() == fiber_id{});
    });
}

TEST_CASE("a fiber that has ended is joined at once") {
    testing::run([] {
        fiber quick{[] {}};
        this_fiber::yield();
        const auto start = clock::now();
        quick.join();
        CHECK(clock::now() == start);
    });
}

TEST_CASE("join_for gives up at its deadline and leaves the fiber alone") {
    testing::run([] {
        const auto start = clock::now();
        fiber sleeper{[] { this_fiber::sleep_for(10s); }};
        CHECK(!sleeper.join_for(1s));
        CHECK(clock::now() - start == 1s);
        CHECK(sleeper.joinable());
        CHECK(sleeper.join_for(1h));
        CHECK(clock::now() - start == 10s);
        CHECK(!sleeper.joinable());
    });
}

TEST_CASE("join rethrows what the fiber ended with, once") {
    testing::run([] {
        fiber failing{[] { throw std::runtime_error{"burnt down"}; }};
        CHECK_THROWS_WITH_AS(failing.join(), "burnt down", std::runtime_error);
        CHECK(!failing.joinable());
    });
}

TEST_CASE("join_for rethrows as join does") {
    testing::run([] {
        fiber failing{[] { throw 42; }};
        CHECK_THROWS_AS(failing.join_for(1s), int);
    });
}

TEST_CASE("that a fiber was cancelled is no failure to who joins it") {
    testing::run([] {
        fiber sleeper{[] { this_fiber::sleep_for(1h); }};
        this_fiber::yield();
        sleeper.cancel();
        CHECK_NOTHROW(sleeper.join());
    });
}

TEST_CASE("that a fiber ran into its own timeout is a failure to who joins it") {
    testing::run([] {
        fiber late{[] {
            timeout limit{1s};
            this_fiber::sleep_for(1h);
        }};
        CHECK_THROWS_AS(late.join(), timed_out);
    });
}

TEST_CASE("joining nobody, somebody twice or oneself is an error") {
    testing::run([] {
        fiber nobody;
        CHECK(error_of([&] { nobody.join(); }) == std::errc::invalid_argument);
        fiber quick{[] {}};
        quick.join();
        CHECK(error_of([&] { quick.join(); }) == std::errc::invalid_argument);
        fiber self;
        self = fiber{[&] { CHECK(error_of([&] { self.join(); }) == std::errc::resource_deadlock_would_occur); }};
        self.join();
    });
}

TEST_CASE("a joiner that is cancelled leaves the fiber alone") {
    testing::run([] {
        fiber sleeper{[] { this_fiber::sleep_for(1h); }};
        fiber joiner{[&] { CHECK_THROWS_AS(sleeper.join(), cancelled); }};
        this_fiber::yield();
        joiner.cancel();
        joiner.join();
        CHECK(sleeper.joinable());
        sleeper.join();
    });
}

TEST_CASE("the destructor waits for the fiber") {
    testing::run([] {
        bool ended = false;
        {
            fiber sleeper{[&] {
                this_fiber::sleep_for(1h);
                ended = true;
            }};
        }
        CHECK(ended);
    });
}

TEST_CASE("the destructor asks the stop_token to stop") {
    testing::run([] {
        const auto start = clock::now();
        {
            fiber worker{[](std::stop_token stop) {
                while (!stop.stop_requested())
                    this_fiber::sleep_for(1s);
            }};
            this_fiber::sleep_for(10s + 1ms);
        }
        CHECK(clock::now() - start == 11s);
    });
}

TEST_CASE("the destructor cancels the fiber when it runs because of an exception") {
    testing::run([] {
        const auto start = clock::now();
        std::string log;
        try {
            fiber sleeper{[&] {
                at_exit note{log, "unwound "};
                this_fiber::sleep_for(1h);
                log += "slept ";
            }};
            this_fiber::yield();
            throw std::runtime_error{"trouble"};
        } catch (const std::runtime_error&) {
            log += "caught";
        }
        CHECK(log == "unwound caught");
        CHECK(clock::now() == start);
    });
}

TEST_CASE("the destructor waits even if the fiber that runs it is cancelled") {
    testing::run([] {
        bool inner_ended = false;
        fiber outer{[&] {
            fiber inner{[&] {
                shield clean_up;
                this_fiber::sleep_for(5s);
                inner_ended = true;
            }};
            this_fiber::sleep_for(1s);
        }};
        this_fiber::yield();
        outer.cancel();
        outer.join();
        CHECK(inner_ended);
    });
}

TEST_CASE("an exception on its way wins over that of a fiber whose handle it destroys") {
    testing::run([] {
        try {
            fiber failing{[] { throw 1; }};
            this_fiber::yield();
            throw std::string{"mine"};
        } catch (const std::string& text) {
            CHECK(text == "mine");
        }
    });
}

TEST_CASE("a detached fiber runs on by itself") {
    testing::run([] {
        bool ended = false;
        {
            fiber worker{[&] {
                this_fiber::sleep_for(1s);
                ended = true;
            }};
            worker.detach();
            CHECK(!worker.joinable());
            CHECK(error_of([&] { worker.detach(); }) == std::errc::invalid_argument);
        }
        CHECK(!ended);
        this_fiber::sleep_for(2s);
        CHECK(ended);
    });
}

TEST_CASE("a detached fiber is cancelled when main ends") {
    std::string log;
    testing::run([&] {
        fiber{[&] {
            at_exit note{log, "unwound"};
            this_fiber::sleep_for(1h);
        }}.detach();
        this_fiber::yield();
    });
    CHECK(log == "unwound");
}

TEST_CASE("a handle can be moved, assigned over and swapped") {
    testing::run([] {
        std::string log;
        fiber a{[&] { log += "a"; }};
        const auto id = a.get_id();
        fiber b{std::move(a)};
        CHECK(!a.joinable());
        CHECK(b.get_id() == id);

        fiber c{[&] { log += "c"; }};
        c.swap(b);
        CHECK(c.get_id() == id);
        b = std::move(c); // waits for what b held
        CHECK(log.find('c') != std::string::npos);
        CHECK(b.get_id() == id);
        b.join();
        CHECK(log == "ac");
    });
}

// ---- identity -------------------------------------------------------------------------------------------------------

TEST_CASE("fibers' numbers are not used again though their stacks are") {
    testing::run([] {
        std::unordered_set<fiber_id> ids{this_fiber::get_id()};
        for (int i = 0; i < 100; ++i) {
            fiber_id seen;
            fiber quick{[&] { seen = this_fiber::get_id(); }};
            CHECK(ids.insert(quick.get_id()).second);
            const auto id = quick.get_id();
            quick.join();
            CHECK(seen == id);
        }
    });
}

TEST_CASE("a number identifies no fiber by default, and on a plain thread") {
    CHECK(fiber_id{} == fiber{}.get_id());
    CHECK(this_fiber::get_id() == fiber_id{});
    CHECK(this_fiber::get_name().empty());
    CHECK(!this_fiber::active());
    CHECK(fiber_id{1} < fiber_id{2});
    std::ostringstream text;
    text << fiber_id{17};
    CHECK(text.str() == "17");
}

TEST_CASE("a fiber knows its name, of which 31 characters are kept") {
    testing::run([] {
        CHECK(this_fiber::get_name() == "main");
        std::string name;
        fiber short_one{{.name = "reader"}, [&] { name = this_fiber::get_name(); }};
        short_one.join();
        CHECK(name == "reader");
        fiber long_one{{.name = "0123456789012345678901234567890123456789"}, [&] { name = this_fiber::get_name(); }};
        long_one.join();
        CHECK(name == "0123456789012345678901234567890");
        fiber nameless{[&] { name = this_fiber::get_name(); }};
        nameless.join();
        CHECK(name.empty());
    });
}

// ---- stop tokens and cancellation -----------------------------------------------------------------------------------

TEST_CASE("request_stop stops the token and interrupts no wait") {
    testing::run([] {
        const auto start = clock::now();
        bool stopped = false;
        fiber worker{[&](std::stop_token stop) {
            this_fiber::sleep_for(1h);
            stopped = stop.stop_requested();
        }};
        this_fiber::yield();
        CHECK(worker.request_stop());
        CHECK(!worker.request_stop());
        worker.join();
        CHECK(stopped);
        CHECK(clock::now() - start == 1h);
    });
}

TEST_CASE("the token of the handle, of the callable and of this_fiber is the same") {
    testing::run([] {
        fiber worker{[](std::stop_token mine) {
            CHECK(mine == this_fiber::get_stop_token());
            CHECK(!mine.stop_requested());
            this_fiber::sleep_for(1s);
            CHECK(mine.stop_requested());
        }};
        auto token = worker.get_stop_token();
        this_fiber::yield();
        worker.request_stop();
        CHECK(token.stop_requested());
        CHECK(!this_fiber::get_stop_token().stop_requested());
    });
    CHECK(!this_fiber::get_stop_token().stop_possible());
    CHECK(!fiber{}.get_stop_token().stop_possible());
}

TEST_CASE("a token that is asked for after the request is stopped already") {
    testing::run([] {
        fiber worker{[] { CHECK(this_fiber::get_stop_token().stop_requested()); }};
        worker.request_stop();
        worker.join();
    });
}

TEST_CASE("a stop_callback may wake the fiber") {
    testing::run([] {
        const auto start = clock::now();
        fiber worker{[](std::stop_token stop) {
            event stopped;
            std::stop_callback on_stop{stop, [&] { stopped.set(); }};
            stopped.wait();
        }};
        this_fiber::sleep_for(1s);
        worker.request_stop();
        worker.join();
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("cancel ends the wait that the fiber is in, and stops its token") {
    testing::run([] {
        const auto start = clock::now();
        std::string log;
        fiber sleeper{[&](std::stop_token stop) {
            at_exit note{log, stop.stop_requested() ? "early" : "unwound"};
            try {
                this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
                CHECK(stop.stop_requested());
                throw;
            }
        }};
        this_fiber::sleep_for(1s);
        sleeper.cancel();
        CHECK(log.empty()); // it ends on its own stack, not inside of cancel
        CHECK(!sleeper.request_stop());
        sleeper.join();
        CHECK(log == "unwound");
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("a fiber that is cancelled before it starts runs to its first wait") {
    testing::run([] {
        std::string log;
        fiber sleeper{[&] {
            log += "started ";
            at_exit note{log, "unwound"};
            this_fiber::yield();
            log += "resumed ";
        }};
        sleeper.cancel();
        sleeper.join();
        CHECK(log == "started unwound");
    });
}

TEST_CASE("cancelling twice, after the end, or nobody does nothing") {
    testing::run([] {
        fiber sleeper{[] { this_fiber::sleep_for(1h); }};
        this_fiber::yield();
        sleeper.cancel();
        sleeper.cancel();
        this_fiber::yield();
        sleeper.cancel();
        sleeper.join();
        sleeper.cancel();
        fiber{}.cancel();
        CHECK(!fiber{}.request_stop());
    });
}

TEST_CASE("a fiber may cancel itself") {
    testing::run([] {
        fiber self;
        std::string log;
        self = fiber{[&] {
            self.cancel();
            log += "still here, ";
            at_exit note{log, "gone"};
            this_fiber::yield();
            log += "not reached";
        }};
        self.join();
        CHECK(log == "still here, gone");
    });
}

// ---- sleeping -------------------------------------------------------------------------------------------------------

TEST_CASE("sleepers wake in the order of their deadlines") {
    testing::run([] {
        std::string log;
        auto sleep = [&](char letter, clock::duration duration) {
            this_fiber::sleep_for(duration);
            log += letter;
        };
        fiber c{sleep, 'c', 3s};
        fiber a{sleep, 'a', 1s};
        fiber d{sleep, 'd', 1h};
        fiber b{sleep, 'b', 2s};
        for (auto* each : {&a, &b, &c, &d})
            each->join();
        CHECK(log == "abcd");
    });
}

TEST_CASE("sleep_until takes the instants of any clock") {
    testing::run([] {
        const auto start = clock::now();
        this_fiber::sleep_until(start + 1min);
        CHECK(clock::now() - start == 1min);
        this_fiber::sleep_until(start);
        CHECK(clock::now() - start == 1min);
        this_fiber::sleep_until(std::chrono::system_clock::now() - 1h);
        CHECK(clock::now() - start == 1min);
    });
}

TEST_CASE("sleeping for no time lets others run") {
    testing::run([] {
        std::string log;
        fiber other{[&] { log += "other "; }};
        this_fiber::sleep_for(0s);
        log += "main";
        CHECK(log == "other main");
        this_fiber::sleep_for(-1h);
    });
}

TEST_CASE("on a plain thread yield and sleep are the thread's") {
    this_fiber::yield();
    this_fiber::sleep_for(0s);
    this_fiber::sleep_for(1us);
    this_fiber::check_cancelled();
}

TEST_CASE("fibers that are always ready keep neither timers nor events of the loop from coming") {
    coir::run([] {
        bool timer_came = false;
        fiber busy{[&] {
            while (!timer_came)
                this_fiber::yield();
        }};
        this_fiber::sleep_for(1ms);
        timer_came = true;
        busy.join();
    });
}

// ---- what is kept for each fiber ------------------------------------------------------------------------------------

TEST_CASE("errno belongs to the fiber") {
    testing::run([] {
        auto keep = [](int value) {
            const int fresh = errno;
            errno = value;
            for (int i = 0; i < 3; ++i) {
                this_fiber::yield();
                const int now = errno;
                CHECK(now == value);
                errno = value;
            }
            CHECK(fresh == 0);
        };
        fiber a{keep, EAGAIN};
        fiber b{keep, EINTR};
        errno = EPERM;
        this_fiber::sleep_for(1s);
        const int mine = errno;
        CHECK(mine == EPERM);
    });
}

TEST_CASE("fibers that suspend inside of catch blocks keep their own exceptions") {
    testing::run([] {
        auto keep = [](const std::string& text, int turns) {
            try {
                throw std::runtime_error{text};
            } catch (const std::runtime_error&) {
                for (int i = 0; i < turns; ++i) {
                    this_fiber::yield();
                    try {
                        throw;
                    } catch (const std::runtime_error& again) {
                        CHECK(again.what() == text);
                    }
                    try {
                        throw std::logic_error{"inner " + text};
                    } catch (const std::logic_error&) {
                        this_fiber::yield();
                        CHECK(std::uncaught_exceptions() == 0);
                    }
                }
            }
            CHECK(!std::current_exception());
        };
        fiber a{keep, "a", 3};
        fiber b{keep, "b", 5};
        fiber c{keep, "c", 1};
        CHECK(!std::current_exception());
        this_fiber::yield();
        CHECK(!std::current_exception());
    });
}

TEST_CASE("a fiber sees only its own uncaught exceptions") {
    testing::run([] {
        struct suspends_in_destructor {
            ~suspends_in_destructor()
            {
                CHECK(std::uncaught_exceptions() == 1);
                this_fiber::yield();
                CHECK(std::uncaught_exceptions() == 1);
            }
        };
        fiber unwinding{[] {
            try {
                suspends_in_destructor object;
                throw 1;
            } catch (int) {
                CHECK(std::uncaught_exceptions() == 0);
            }
        }};
        fiber other{[] {
            for (int i = 0; i < 4; ++i) {
                CHECK(std::uncaught_exceptions() == 0);
                this_fiber::yield();
            }
        }};
        unwinding.join();
        other.join();
    });
}

TEST_CASE("an exception can be carried from fiber to fiber") {
    testing::run([] {
        std::exception_ptr carried;
        fiber thrower{[&] {
            try {
                throw std::runtime_error{"carried"};
            } catch (...) {
                carried = std::current_exception();
                this_fiber::yield();
            }
        }};
        this_fiber::yield();
        CHECK_THROWS_WITH(std::rethrow_exception(carried), "carried");
        thrower.join();
    });
}

TEST_CASE("no_suspend lets everything pass that does not wait") {
    testing::run([] {
        event set;
        set.set();
        no_suspend outer;
        {
            no_suspend inner;
            set.wait();
        }
        fiber{[] {}}.detach();
    });
    no_suspend on_a_plain_thread;
}

TEST_SUITE_END();
