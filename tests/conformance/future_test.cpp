// SPDX-License-Identifier: BSL-1.0
// [futures]
#include "worlds.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// The future_errc with which `action` fails.
std::future_errc failure_of(auto&& action)
{
    try {
        action();
    } catch (const std::future_error& error) {
        CHECK(error.code().category() == std::future_category());
        return static_cast<std::future_errc>(error.code().value());
    }
    return {};
}

struct counted {
    static inline std::atomic<int> alive{0};
    counted() { ++alive; }
    counted(const counted&) { ++alive; }
    ~counted() { --alive; }
};

} // namespace

TEST_SUITE_BEGIN("futures");

// ---- promise --------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a value set in one thread is returned by get in another [futures.state]", World, COIR_WORLDS) {
    World::run([] {
        typename World::template promise<std::string> words;
        auto result = words.get_future();
        typename World::thread other{[&] { words.set_value("said"); }};
        CHECK(result.get() == "said");
        other.join();
    });
}

TEST_CASE_TEMPLATE("what the setter did before is seen after get [futures.state]", World, COIR_WORLDS) {
    World::run([] {
        typename World::template promise<void> done;
        auto result = done.get_future();
        int written = 0;
        typename World::thread other{[&] {
            World::let_others_run();
            written = 1;
            done.set_value();
        }};
        result.wait();
        CHECK(written == 1);
        other.join();
    });
}

TEST_CASE_TEMPLATE("get_future works once [futures.promise]", World, COIR_WORLDS) {
    typename World::template promise<int> some;
    auto result = some.get_future();
    CHECK(result.valid());
    CHECK(failure_of([&] { (void)some.get_future(); }) == std::future_errc::future_already_retrieved);
}

TEST_CASE_TEMPLATE("a promise is satisfied once [futures.promise]", World, COIR_WORLDS) {
    typename World::template promise<int> some;
    auto result = some.get_future();
    some.set_value(1);
    CHECK(failure_of([&] { some.set_value(2); }) == std::future_errc::promise_already_satisfied);
    CHECK(failure_of([&] { some.set_exception(std::make_exception_ptr(3)); }) ==
          std::future_errc::promise_already_satisfied);
    CHECK(result.get() == 1);
}

TEST_CASE_TEMPLATE("a promise that was moved from has no state [futures.promise]", World, COIR_WORLDS) {
    typename World::template promise<int> some;
    auto other = std::move(some);
    CHECK(failure_of([&] { some.set_value(1); }) == std::future_errc::no_state);
    CHECK(failure_of([&] { (void)some.get_future(); }) == std::future_errc::no_state);
    auto result = other.get_future();
    other.set_value(1);
    CHECK(result.get() == 1);
}

TEST_CASE_TEMPLATE("an abandoned promise is broken [futures.state]", World, COIR_WORLDS) {
    World::run([] {
        typename World::template future<int> result;
        {
            typename World::template promise<int> some;
            result = some.get_future();
        }
        CHECK(result.wait_for(0s) == std::future_status::ready);
        CHECK(failure_of([&] { result.get(); }) == std::future_errc::broken_promise);
        CHECK(!result.valid());

        typename World::template promise<int> assigned;
        result = assigned.get_future();
        assigned = typename World::template promise<int>{};
        CHECK(failure_of([&] { result.get(); }) == std::future_errc::broken_promise);
    });
}

TEST_CASE_TEMPLATE("a promise that dies satisfied leaves its value [futures.state]", World, COIR_WORLDS) {
    typename World::template future<int> result;
    {
        typename World::template promise<int> some;
        result = some.get_future();
        some.set_value(4);
    }
    CHECK(result.get() == 4);
}

TEST_CASE_TEMPLATE("a promise carries an exception [futures.promise]", World, COIR_WORLDS) {
    typename World::template promise<void> some;
    auto result = some.get_future();
    some.set_exception(std::make_exception_ptr(std::runtime_error{"no"}));
    CHECK_THROWS_AS(result.get(), std::runtime_error);
}

TEST_CASE_TEMPLATE("promises of references and of nothing [futures.promise]", World, COIR_WORLDS) {
    int number = 1;
    typename World::template promise<int&> reference;
    auto referred = reference.get_future();
    reference.set_value(number);
    CHECK(&referred.get() == &number);
    typename World::template promise<void> nothing;
    auto done = nothing.get_future();
    nothing.set_value();
    done.get();
}

TEST_CASE_TEMPLATE("promises are swapped with their states [futures.promise]", World, COIR_WORLDS) {
    typename World::template promise<int> one;
    typename World::template promise<int> two;
    auto of_one = one.get_future();
    auto of_two = two.get_future();
    one.swap(two);
    one.set_value(2);
    swap(one, two);
    one.set_value(1);
    CHECK(of_one.get() == 1);
    CHECK(of_two.get() == 2);
}

TEST_CASE_TEMPLATE("move-only values pass [futures.unique.future]", World, COIR_WORLDS) {
    typename World::template promise<std::unique_ptr<int>> some;
    auto result = some.get_future();
    some.set_value(std::make_unique<int>(5));
    CHECK(*result.get() == 5);
}

TEST_CASE_TEMPLATE("the value goes with the last reference to the state [futures.state]", World, COIR_WORLDS) {
    {
        typename World::template promise<counted> some;
        auto result = some.get_future();
        some.set_value(counted{});
        CHECK(counted::alive == 1);
        auto shared = result.share();
        auto copy = shared;
        shared = {};
        CHECK(counted::alive == 1);
    }
    CHECK(counted::alive == 0);
}

// ---- future, shared_future ------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("get leaves the future without a state [futures.unique.future]", World, COIR_WORLDS) {
    typename World::template promise<int> some;
    auto result = some.get_future();
    some.set_value(1);
    result.wait();
    CHECK(result.valid());
    result.get();
    CHECK(!result.valid());
    CHECK(failure_of([&] { result.get(); }) == std::future_errc::no_state); // as [futures.unique.future] recommends
    CHECK(failure_of([&] { result.wait(); }) == std::future_errc::no_state);
}

TEST_CASE_TEMPLATE("a future that was moved from has no state [futures.unique.future]", World, COIR_WORLDS) {
    typename World::template promise<int> some;
    auto result = some.get_future();
    auto other = std::move(result);
    CHECK(!result.valid());
    CHECK(other.valid());
    result = std::move(other);
    CHECK(result.valid());
    CHECK(!other.valid());
    typename World::template future<int> none;
    CHECK(!none.valid());
}

TEST_CASE_TEMPLATE("timed waits tell whether there is a result [futures.unique.future]", World, COIR_WORLDS) {
    World::run([] {
        typename World::template promise<int> some;
        auto result = some.get_future();
        CHECK(result.wait_for(1ms) == std::future_status::timeout);
        CHECK(result.wait_until(std::chrono::steady_clock::now() + 1ms) == std::future_status::timeout);
        CHECK(result.wait_until(std::chrono::system_clock::now() - 1s) == std::future_status::timeout);
        some.set_value(1);
        CHECK(result.wait_for(-1s) == std::future_status::ready);
        CHECK(result.wait_until(std::chrono::steady_clock::now()) == std::future_status::ready);
        CHECK(result.valid());
    });
}

TEST_CASE_TEMPLATE("a shared future gives its result to many, always the same [futures.shared.future]", World,
                   COIR_WORLDS) {
    World::run([] {
        typename World::template promise<std::string> words;
        auto result = words.get_future();
        const auto shared = result.share();
        CHECK(!result.valid());
        std::atomic<int> seen{0};
        auto listen = [&seen, shared] {
            if (shared.get() == "said")
                ++seen;
        };
        typename World::thread one{listen};
        typename World::thread two{listen};
        World::let_others_run();
        words.set_value("said");
        one.join();
        two.join();
        CHECK(seen == 2);
        const auto copy = shared;
        CHECK(&copy.get() == &shared.get());
    });
}

TEST_CASE_TEMPLATE("a shared exception is thrown each time [futures.shared.future]", World, COIR_WORLDS) {
    typename World::template promise<int> some;
    const typename World::template shared_future<int> shared{some.get_future()};
    some.set_exception(std::make_exception_ptr(1));
    CHECK_THROWS_AS(shared.get(), int);
    CHECK_THROWS_AS(shared.get(), int);
    CHECK(shared.valid());
}

// ---- packaged_task --------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a packaged task gives what it returned to its future [futures.task.members]", World, COIR_WORLDS) {
    World::run([] {
        typename World::template packaged_task<int(int, int)> sum{[](int one, int two) { return one + two; }};
        auto result = sum.get_future();
        typename World::thread other{std::move(sum), 1, 2};
        CHECK(result.get() == 3);
        other.join();
    });
}

TEST_CASE_TEMPLATE("a packaged task gives what it threw to its future [futures.task.members]", World, COIR_WORLDS) {
    typename World::template packaged_task<void()> failing{[] { throw std::runtime_error{"no"}; }};
    auto result = failing.get_future();
    failing();
    CHECK_THROWS_AS(result.get(), std::runtime_error);
}

TEST_CASE_TEMPLATE("a packaged task is called once [futures.task.members]", World, COIR_WORLDS) {
    int calls = 0;
    typename World::template packaged_task<void()> count{[&] { ++calls; }};
    auto result = count.get_future();
    count();
    CHECK(failure_of([&] { count(); }) == std::future_errc::promise_already_satisfied);
    CHECK(failure_of([&] { (void)count.get_future(); }) == std::future_errc::future_already_retrieved);
    CHECK(calls == 1);
}

TEST_CASE_TEMPLATE("a task that is never called is broken [futures.task.members]", World, COIR_WORLDS) {
    typename World::template future<int> result;
    {
        typename World::template packaged_task<int()> some{[] { return 1; }};
        result = some.get_future();
    }
    CHECK(failure_of([&] { result.get(); }) == std::future_errc::broken_promise);
}

TEST_CASE_TEMPLATE("a task that is reset has a new state, and abandons the old [futures.task.members]", World,
                   COIR_WORLDS) {
    typename World::template packaged_task<int()> count{[calls = 0]() mutable { return ++calls; }};
    auto first = count.get_future();
    count();
    count.reset();
    auto second = count.get_future();
    count.reset();
    auto third = count.get_future();
    count();
    CHECK(first.get() == 1);
    CHECK(failure_of([&] { second.get(); }) == std::future_errc::broken_promise);
    CHECK(third.get() == 2);
}

TEST_CASE_TEMPLATE("an empty task has no state [futures.task.members]", World, COIR_WORLDS) {
    typename World::template packaged_task<int()> none;
    CHECK(!none.valid());
    CHECK(failure_of([&] { none(); }) == std::future_errc::no_state);
    CHECK(failure_of([&] { (void)none.get_future(); }) == std::future_errc::no_state);
    CHECK(failure_of([&] { none.reset(); }) == std::future_errc::no_state);
    typename World::template packaged_task<int()> some{[] { return 1; }};
    swap(none, some);
    CHECK(none.valid());
    CHECK(!some.valid());
    some = std::move(none);
    CHECK(some.valid());
    CHECK(!none.valid());
}

// ---- async ----------------------------------------------------------------------------------------------------------

// async starts a fiber, which takes a hub: the world of plain threads has only its deferred form.
#define WORLDS_WITH_ASYNC conformance::std_world, conformance::fiber_world, conformance::hub_world

TEST_CASE_TEMPLATE("async gives what its function returned or threw [futures.async]", World, WORLDS_WITH_ASYNC) {
    World::run([] {
        auto sum = World::async(
            std::launch::async, [](int one, int two) { return one + two; }, 1, 2);
        auto failing = World::async(std::launch::async, []() -> int { throw std::runtime_error{"no"}; });
        CHECK(sum.get() == 3);
        CHECK_THROWS_AS(failing.get(), std::runtime_error);
    });
}

TEST_CASE_TEMPLATE("async's function runs while its caller waits for something else [futures.async]", World,
                   WORLDS_WITH_ASYNC) {
    World::run([] {
        typename World::binary_semaphore ping{0};
        typename World::binary_semaphore pong{0};
        auto other = World::async(std::launch::async, [&] {
            ping.acquire();
            pong.release();
        });
        ping.release();
        pong.acquire();
        other.get();
    });
}

TEST_CASE_TEMPLATE("the future of an async waits for it before it is gone [futures.async]", World, WORLDS_WITH_ASYNC) {
    World::run([] {
        std::atomic<bool> ended{false};
        {
            auto work = World::async(std::launch::async, [&] {
                World::let_others_run();
                ended = true;
            });
        }
        CHECK(ended);
        ended = false;
        {
            typename World::template shared_future<void> last;
            {
                const auto first = World::async(std::launch::async, [&] {
                                       World::let_others_run();
                                       ended = true;
                                   }).share();
                last = first;
            }
        }
        CHECK(ended);
    });
}

TEST_CASE_TEMPLATE("async copies its arguments at once [futures.async]", World, WORLDS_WITH_ASYNC) {
    World::run([] {
        int number = 1;
        auto value = World::async(
            std::launch::async, [](int copy) { return copy; }, number);
        auto reference = World::async(
            std::launch::async, [](int& original) -> int& { return original; }, std::ref(number));
        auto pointer = World::async(
            std::launch::async, [](std::unique_ptr<int> own) { return *own; }, std::make_unique<int>(7));
        number = 2;
        CHECK(value.get() == 1);
        CHECK(&reference.get() == &number);
        CHECK(pointer.get() == 7);
    });
}

TEST_CASE_TEMPLATE("what an async function did happens before get returns [futures.async]", World, WORLDS_WITH_ASYNC) {
    World::run([] {
        std::vector<int> written;
        auto work = World::async(std::launch::async, [&] { written.assign(100, 1); });
        work.get();
        CHECK(written.size() == 100);
    });
}

TEST_CASE_TEMPLATE("a deferred function is called by the first untimed wait [futures.async]", World, COIR_WORLDS) {
    World::run([] {
        int calls = 0;
        auto work = World::async(std::launch::deferred, [&] { return ++calls; });
        CHECK(work.wait_for(1h) == std::future_status::deferred);
        CHECK(work.wait_until(std::chrono::steady_clock::now() + 1h) == std::future_status::deferred);
        CHECK(calls == 0);
        work.wait();
        CHECK(calls == 1);
        CHECK(work.wait_for(0s) == std::future_status::ready);
        CHECK(work.get() == 1);
        CHECK(calls == 1);
    });
}

TEST_CASE_TEMPLATE("a deferred function's exception is thrown by get [futures.async]", World, COIR_WORLDS) {
    World::run([] {
        auto work = World::async(std::launch::deferred, [] { throw std::runtime_error{"no"}; });
        CHECK_NOTHROW(work.wait());
        CHECK_THROWS_AS(work.get(), std::runtime_error);
    });
}

TEST_CASE_TEMPLATE("of those who wait for a deferred function, one calls it [futures.async]", World, COIR_WORLDS) {
    World::run([] {
        std::atomic<int> calls{0};
        const auto work = World::async(std::launch::deferred, [&] {
                              World::let_others_run();
                              return ++calls;
                          }).share();
        auto ask = [work] { CHECK(work.get() == 1); };
        typename World::thread one{ask};
        typename World::thread two{ask};
        one.join();
        two.join();
        CHECK(calls == 1);
    });
}

TEST_CASE_TEMPLATE("without a policy, async finds one that works [futures.async]", World, COIR_WORLDS) {
    World::run([] {
        auto work = World::async([](int number) { return number + 1; }, 1);
        CHECK(work.get() == 2);
    });
}

TEST_SUITE_END();
