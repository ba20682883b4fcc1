// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/coroutine.hpp>
#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/mutex.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include "seed.hpp"

#include <cerrno>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

struct notes_its_end {
    std::string& log;
    std::string what;
    ~notes_its_end() { log += what; }
};

/// The same in a fiber, and on a thread that has none.
void in_a_fiber_and_on_a_thread(auto&& function)
{
    testing::run([&] { function(); });
    function();
}

[[gnu::noinline]] int yield_from_depth(int depth, auto& self)
{
    if (depth > 0)
        return yield_from_depth(depth - 1, self) + 1;
    self.yield(7);
    return 0;
}

} // namespace

TEST_SUITE_BEGIN("coroutine");

TEST_CASE("values pass both ways") {
    in_a_fiber_and_on_a_thread([] {
        coroutine<int(int)> adder{[](auto& self, int number) -> int {
            int sum = 0;
            while (number >= 0)
                number = self.yield(sum += number);
            return -sum;
        }};
        CHECK(adder);
        CHECK(!adder.done());
        CHECK(adder.resume(3) == 3);
        CHECK(adder.resume(4) == 7);
        CHECK(adder.resume(5) == 12);
        CHECK(!adder.done());
        CHECK(adder.resume(-1) == -12);
        CHECK(adder.done());
        CHECK(!adder);
    });
}

TEST_CASE("values move, convert and refer") {
    in_a_fiber_and_on_a_thread([] {
        coroutine<std::unique_ptr<int>(std::unique_ptr<int>)> mover{
            [](auto& self, std::unique_ptr<int> first) -> std::unique_ptr<int> {
                return self.yield(std::move(first)); // and what comes then is the last
            }};
        auto one = std::make_unique<int>(1);
        const auto* address = one.get();
        CHECK(mover.resume(std::move(one)).get() == address);
        CHECK(*mover.resume(std::make_unique<int>(2)) == 2);

        coroutine<int&(const std::string&)> referrer{[](auto& self, const std::string& first) -> int& {
            static int size;
            const std::string* last = &first;
            for (;;) {
                size = static_cast<int>(last->size());
                last = &self.yield(size);
            }
        }};
        int& size = referrer.resume("abc");
        CHECK(size == 3);
        CHECK(&referrer.resume("abcd") == &size);
        CHECK(size == 4);

        coroutine<std::string()> converter{[](auto& self) {
            self.yield("literal");
            const std::string kept = "kept";
            self.yield(kept);
            CHECK(kept == "kept");
            return "last";
        }};
        CHECK(converter.resume() == "literal");
        CHECK(converter.resume() == "kept");
        CHECK(converter.resume() == "last");

        int steps = 0;
        coroutine<void()> stepper{[&](auto& self) {
            ++steps;
            self.yield();
            ++steps;
        }};
        stepper.resume();
        CHECK(steps == 1);
        stepper.resume();
        CHECK(steps == 2);
        CHECK(stepper.done());
    });
}

TEST_CASE("a function yields from any depth of calls") {
    in_a_fiber_and_on_a_thread([] {
        coroutine<int()> deep{[](auto& self) { return yield_from_depth(100, self); }};
        CHECK(deep.resume() == 7);
        CHECK(deep.resume() == 100);
    });
}

TEST_CASE("what the function throws comes out of resume") {
    in_a_fiber_and_on_a_thread([] {
        coroutine<int()> failing{[](auto& self) -> int {
            self.yield(1);
            throw std::runtime_error{"inside"};
        }};
        CHECK(failing.resume() == 1);
        CHECK_THROWS_WITH_AS(failing.resume(), "inside", std::runtime_error);
        CHECK(failing.done());
    });
}

TEST_CASE("an exception can be thrown into it") {
    in_a_fiber_and_on_a_thread([] {
        coroutine<std::string()> catching{[](auto& self) -> std::string {
            try {
                self.yield("waiting");
            } catch (const std::runtime_error& error) {
                self.yield(std::string{"caught "} + error.what());
            }
            self.yield("going on");
            return "not reached";
        }};
        CHECK(catching.resume() == "waiting");
        CHECK(catching.resume_throwing(std::make_exception_ptr(std::runtime_error{"one"})) == "caught one");
        CHECK(catching.resume() == "going on");
        CHECK_THROWS_WITH(catching.resume_throwing(std::make_exception_ptr(std::runtime_error{"two"})), "two");
        CHECK(catching.done());
    });
}

TEST_CASE("an exception that is thrown into one that has not begun ends it") {
    bool ran = false;
    coroutine<void()> fresh{[&](auto&) { ran = true; }};
    CHECK_THROWS_AS(fresh.resume_throwing(std::make_exception_ptr(1)), int);
    CHECK(fresh.done());
    CHECK(!ran);
}

TEST_CASE("each has its own errno and its own exceptions") {
    in_a_fiber_and_on_a_thread([] {
        coroutine<std::string()> inside{[](auto& self) -> std::string {
            errno = ENOENT;
            try {
                throw std::runtime_error{"inner"};
            } catch (...) {
                CHECK(std::uncaught_exceptions() == 0);
                self.yield("in a catch block");
                CHECK(errno == ENOENT);
                try {
                    throw;
                } catch (const std::runtime_error& error) {
                    return error.what();
                }
            }
        }};
        try {
            throw std::logic_error{"outer"};
        } catch (...) {
            errno = EAGAIN;
            CHECK(inside.resume() == "in a catch block");
            CHECK(errno == EAGAIN);
            CHECK(inside.resume() == "inner");
            CHECK_THROWS_WITH(throw, "outer");
        }
    });
}

TEST_CASE("to destroy one that has not ended unwinds its stack") {
    in_a_fiber_and_on_a_thread([] {
        std::string log;
        {
            coroutine<void()> unfinished{[&](auto& self) {
                const notes_its_end outer{log, "outer"};
                try {
                    const notes_its_end inner{log, "inner, "};
                    self.yield();
                } catch (const std::exception&) {
                    log += "swallowed by mistake, ";
                }
                log += "went on, ";
            }};
            unfinished.resume();
        }
        CHECK(log == "inner, outer");
    });
}

TEST_CASE("one that swallows its destruction meets it again at its next yield") {
    int yields = 0;
    {
        coroutine<void()> stubborn{[&](auto& self) {
            for (int i = 0; i < 3; ++i) {
                try {
                    self.yield();
                } catch (const coroutine_destroyed&) {
                    ++yields;
                }
            }
        }};
        stubborn.resume();
    }
    CHECK(yields == 3);
}

TEST_CASE("one that has never been resumed is destroyed with its function, which has not run") {
    auto shared = std::make_shared<int>(1);
    {
        coroutine<void()> fresh{[shared](auto&) { FAIL("ran"); }};
        CHECK(shared.use_count() == 2);
    }
    CHECK(shared.use_count() == 1);
}

TEST_CASE("while an exception is on its way, that of an unwinding coroutine gives way to it") {
    in_a_fiber_and_on_a_thread([] {
        try {
            coroutine<void()> fails_at_its_end{[](auto& self) {
                try {
                    self.yield();
                } catch (const coroutine_destroyed&) {
                    throw std::runtime_error{"theirs"};
                }
            }};
            fails_at_its_end.resume();
            throw std::runtime_error{"ours"};
        } catch (const std::runtime_error& error) {
            CHECK(std::string{error.what()} == "ours");
        }
    });
}

TEST_CASE("coroutines resume coroutines") {
    in_a_fiber_and_on_a_thread([] {
        std::string log;
        coroutine<void()> inner{[&](auto& self) {
            log += "c";
            self.yield();
            log += "f";
        }};
        coroutine<void()> outer{[&](auto& self) {
            log += "b";
            inner.resume();
            log += "d";
            self.yield();
            inner.resume();
            log += "g";
        }};
        log += "a";
        outer.resume();
        log += "e";
        outer.resume();
        CHECK(log == "abcdefg");
        CHECK(inner.done());
        CHECK(outer.done());
    });
}

TEST_CASE("one transfers to another, which goes on in its place") {
    in_a_fiber_and_on_a_thread([] {
        std::string log;
        coroutine<std::string(int)>* second = nullptr;
        coroutine<std::string(int)> first{[&](auto& self, int number) -> std::string {
            log += "first " + std::to_string(number) + ", ";
            number = self.transfer(*second, number + 1);
            log += "first again " + std::to_string(number) + ", ";
            return "from first";
        }};
        coroutine<std::string(int)> other{[&](auto& self, int number) -> std::string {
            log += "second " + std::to_string(number) + ", ";
            number = self.yield("from second");
            log += "second again " + std::to_string(number) + ", ";
            number = self.transfer(first, number + 1);
            FAIL("nobody comes back");
            return {};
        }};
        second = &other;
        CHECK(first.resume(1) == "from second"); // what the one that has taken its place passes
        CHECK(first);
        CHECK(other);
        CHECK(other.resume(10) == "from first");
        CHECK(first.done());
        CHECK(!other.done());
        CHECK(log == "first 1, second 2, second again 10, first again 11, ");
    });
}

TEST_CASE("players transfer to each other a hundred thousand times, on no more stack") {
    in_a_fiber_and_on_a_thread([] {
        using player = coroutine<int(int)>;
        std::vector<player> players;
        constexpr std::size_t count = 3;
        for (std::size_t i = 0; i < count; ++i)
            players.emplace_back([&players, i](auto& self, int turn) -> int {
                while (turn < 100'000)
                    turn = self.transfer(players[(i + 1) % count], turn + 1);
                return turn;
            });
        CHECK(players[0].resume(0) == 100'000);
    });
}

TEST_CASE("what one throws that was transferred to comes out of the resume that waits") {
    in_a_fiber_and_on_a_thread([] {
        coroutine<void()> failing{[](auto&) { throw std::runtime_error{"transferred"}; }};
        coroutine<void()> first{[&](auto& self) { self.transfer(failing); }};
        CHECK_THROWS_WITH(first.resume(), "transferred");
        CHECK(failing.done());
        CHECK(first);
    });
}

TEST_CASE("misuse throws a logic_error that says what is wrong") {
    in_a_fiber_and_on_a_thread([] {
        coroutine<void()> ended{[](auto&) {}};
        ended.resume();
        CHECK_THROWS_WITH_AS(ended.resume(), "coir::coroutine: it has ended", std::logic_error);

        coroutine<void()>* itself = nullptr;
        std::string complaint;
        coroutine<void()> recursive{[&](auto& self) {
            try {
                itself->resume();
            } catch (const std::logic_error& error) {
                complaint = error.what();
            }
            CHECK_THROWS_AS(self.transfer(*itself), std::logic_error);
            CHECK_THROWS_AS(self.transfer(ended), std::logic_error);
        }};
        itself = &recursive;
        recursive.resume();
        CHECK(complaint.find("it runs already") != std::string::npos);
        CHECK(recursive.done());

        coroutine<void()> moved{[](auto&) {}};
        coroutine<void()> target{std::move(moved)};
        CHECK(moved.done());
        CHECK_THROWS_AS(moved.resume(), std::logic_error);
        target.resume();
    });
}

TEST_CASE("it belongs to the thread that resumed it first") {
    coroutine<int()> ours{[](auto& self) {
        self.yield(1);
        return 2;
    }};
    coroutine<int()> theirs{[](auto& self) {
        self.yield(3);
        return 4;
    }};
    ours.resume();
    std::thread{[&] {
        CHECK_THROWS_WITH_AS(ours.resume(), "coir::coroutine: it belongs to another thread", std::logic_error);
        CHECK(theirs.resume() == 3); // not begun: whose it is had not been decided
        CHECK(theirs.resume() == 4);
    }}.join();
    CHECK(ours.resume() == 2);
}

TEST_CASE("move assignment destroys what was there") {
    std::string log;
    auto make = [&](std::string name) {
        coroutine<void()> made{[&log, name](auto& self) {
            const notes_its_end end{log, name};
            self.yield();
        }};
        made.resume();
        return made;
    };
    auto one = make("one, ");
    one = make("two, ");
    CHECK(log == "one, ");
    one = coroutine<void()>{[](auto&) {}};
    CHECK(log == "one, two, ");
}

TEST_CASE("the callable must fit into the stack") {
    struct large {
        char bytes[100'000];
        void operator()(coroutine<void()>::self_type&) {}
    };
    CHECK_THROWS_AS((coroutine<void()>{{.stack_size = 64 * 1024}, large{}}), std::length_error);
}

// ---- in fibers ------------------------------------------------------------------------------------------------------

TEST_CASE("a coroutine that suspends suspends the fiber that resumed it, and comes back into the coroutine") {
    testing::run([] {
        const auto start = clock::now();
        std::string log;
        fiber other{[&] {
            this_fiber::sleep_for(1s);
            log += "other, ";
        }};
        coroutine<int()> sleeper{[&](auto& self) {
            this_fiber::sleep_for(2s);
            log += "first part, ";
            self.yield(1);
            this_fiber::sleep_for(2s);
            return 2;
        }};
        CHECK(sleeper.resume() == 1);
        CHECK(clock::now() - start == 2s);
        CHECK(sleeper.resume() == 2);
        CHECK(clock::now() - start == 4s);
        CHECK(log == "other, first part, ");
    });
}

TEST_CASE("many fibers switch in the middle of many coroutines") {
    testing::run([] {
        std::mt19937_64 random{support::seed()};
        mutex lock;
        long sum = 0;
        fiber_group fibers;
        for (int i = 0; i < 20; ++i)
            fibers.spawn([&] {
                coroutine<int(int)> inner{[&](auto& self, int value) -> int {
                    for (;;) {
                        if (random() % 2)
                            this_fiber::yield();
                        const std::scoped_lock held{lock};
                        if (random() % 4 == 0)
                            this_fiber::sleep_for(1ms);
                        errno = value;
                        this_fiber::yield();
                        CHECK(errno == value);
                        value = self.yield(value);
                    }
                }};
                coroutine<int()> outer{[&](auto& self) {
                    for (int k = 0; k < 20; ++k) {
                        this_fiber::yield();
                        self.yield(k);
                    }
                    return -1;
                }};
                for (int k; (k = outer.resume()) >= 0;)
                    sum += k;
                CHECK(inner.resume(1) == 1); // it yields with the mutex held, and gives it back when it is unwound
            });
        fibers.join();
        CHECK(sum == 20 * 190);
    });
}

TEST_CASE("cancellation reaches a coroutine that waits, and goes on to who resumed it") {
    testing::run([] {
        std::string log;
        fiber worker{[&] {
            coroutine<void()> waiting{[&](auto&) {
                const notes_its_end end{log, "unwound, "};
                this_fiber::sleep_for(1h);
            }};
            try {
                waiting.resume();
            } catch (const cancelled&) {
                log += "cancelled";
                throw;
            }
        }};
        this_fiber::yield();
        worker.cancel();
        worker.join();
        CHECK(log == "unwound, cancelled");
    });
}

TEST_CASE("a coroutine's timeout holds inside of it only, and is there again when it goes on") {
    testing::run([] {
        coroutine<void()> limited{[](auto& self) {
            timeout limit{1s};
            self.yield();
            CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
            limit.clear();
            self.yield();
            this_fiber::sleep_for(1s);
        }};
        limited.resume();
        this_fiber::sleep_for(1h); // not cut off
        limited.resume();
        this_fiber::sleep_for(1h);
        limited.resume();
        CHECK(limited.done());
    });
}

TEST_CASE("a coroutine is under the timeouts of who resumes it, then") {
    testing::run([] {
        coroutine<bool()> sleeper{[](auto& self) {
            for (;;) {
                timeout own{1h};
                try {
                    this_fiber::sleep_for(2s);
                    self.yield(true);
                } catch (const timed_out&) {
                    self.yield(false);
                }
            }
        }};
        {
            timeout limit{1s};
            CHECK(!sleeper.resume());
        }
        CHECK(sleeper.resume());
        {
            timeout limit{1s};
            CHECK(!sleeper.resume());
        }
        {
            timeout limit{3s};
            CHECK(sleeper.resume());
        }
    });
}

TEST_CASE("a coroutine's no_suspend is its own") {
    testing::run([] {
        coroutine<void()> careful{[](auto& self) {
            const no_suspend guard;
            self.yield();
        }};
        careful.resume();
        this_fiber::yield();
        careful.resume();
        this_fiber::yield();
        CHECK(careful.done());
    });
}

TEST_CASE("another fiber of the thread may go on with it, and a plain stretch before and after") {
    coroutine<fiber_id()> visited{[](auto& self) {
        for (;;) {
            timeout limit{1h};
            self.yield(this_fiber::get_id());
        }
    }};
    CHECK(visited.resume() == fiber_id{});
    testing::run([&] {
        CHECK(visited.resume() == this_fiber::get_id());
        fiber other{[&] { CHECK(visited.resume() == this_fiber::get_id()); }};
        other.join();
        CHECK(visited.resume() == this_fiber::get_id());
    });
    CHECK(visited.resume() == fiber_id{});
}

TEST_CASE("a coroutine outlives the fiber and the runtime that began it") {
    std::string log;
    {
        std::optional<coroutine<void()>> kept;
        testing::run([&] {
            fiber beginner{[&] {
                kept.emplace([&](auto& self) {
                    const notes_its_end end{log, "unwound"};
                    timeout limit{1s};
                    self.yield();
                });
                kept->resume();
            }};
            beginner.join();
        });
        CHECK(log.empty());
    }
    CHECK(log == "unwound");
}

TEST_CASE("a coroutine's destructors may suspend while it is unwound") {
    testing::run([] {
        const auto start = clock::now();
        {
            coroutine<void()> slow{[](auto& self) {
                struct sleeps {
                    ~sleeps() { this_fiber::sleep_for(1s); }
                } at_the_end;
                self.yield();
            }};
            slow.resume();
        }
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("coroutines of two hubs do not meet") {
    auto hub = [] {
        coir::run([] {
            long sum = 0;
            fiber_group fibers;
            for (int i = 0; i < 10; ++i)
                fibers.spawn([&] {
                    coroutine<int()> counter{[](auto& self) {
                        for (int k = 0; k < 100; ++k) {
                            this_fiber::yield();
                            self.yield(k);
                        }
                        return offload([] { return -1; });
                    }};
                    for (int k; (k = counter.resume()) >= 0;)
                        sum += k;
                });
            fibers.join();
            CHECK(sum == 10 * 4950);
        });
    };
    std::thread other{hub};
    hub();
    other.join();
}

TEST_SUITE_END();
