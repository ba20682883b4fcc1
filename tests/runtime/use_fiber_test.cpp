// SPDX-License-Identifier: BSL-1.0
#include "manual_operation.hpp"

#include <doctest/doctest.h>

#include <coir/cancel_scope.hpp>
#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>
#include <coir/use_fiber.hpp>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

namespace asio = boost::asio;
using namespace coir;
using namespace std::chrono_literals;
using boost::system::error_code;
using support::manual_operation;

namespace {

const error_code refused = asio::error::make_error_code(asio::error::connection_refused);
const error_code closed = asio::experimental::error::make_error_code(asio::experimental::error::channel_closed);
const error_code aborted = asio::error::make_error_code(asio::error::operation_aborted);

/// An io_context that a thread of its own runs.
class running_context {
public:
    running_context() = default;
    running_context(const running_context&) = delete;
    running_context& operator=(const running_context&) = delete;
    ~running_context() { join(); }
    asio::io_context& context() noexcept { return context_; }
    std::thread::id thread() const noexcept { return thread_.get_id(); }
    void join()
    {
        work_.reset();
        if (thread_.joinable())
            thread_.join();
    }

private:
    asio::io_context context_;
    std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_{context_.get_executor()};
    std::thread thread_{[this] { context_.run(); }};
};

/// Two waits of a timer, one after the other: the least that has steps.
template <class Timer, class Token> auto wait_twice(Timer& timer, Token&& token)
{
    return asio::async_compose<Token, void(error_code, std::thread::id)>(
        [&timer, step = 0](auto& self, error_code error = {}) mutable {
            if (error || step++ == 2)
                return self.complete(error, std::this_thread::get_id());
            timer.expires_after(1ms);
            timer.async_wait(std::move(self));
        },
        token, timer);
}

/// Code of the std::system_error that a function throws.
template <class Function> std::error_code thrown_by(Function&& function)
{
    try {
        function();
    } catch (const std::system_error& error) {
        return error.code();
    }
    return {};
}

} // namespace

TEST_SUITE_BEGIN("use_fiber");

// ---- what it returns ------------------------------------------------------------------------------------------------

TEST_CASE("a fiber awaits an operation, and others run meanwhile") {
    coir::run([] {
        asio::steady_timer timer{this_hub_io_context(), 10ms};
        int others = 0;
        fiber other{[&] {
            for (int i = 0; i < 3; ++i, ++others)
                this_fiber::yield();
        }};
        timer.async_wait(use_fiber);
        CHECK(timer.expiry() <= asio::steady_timer::clock_type::now());
        CHECK(others == 3);
    });
}

TEST_CASE("a result is what the handler is given: nothing, a value or a tuple, without the error") {
    testing::run([] {
        const auto await = [](auto& operation, auto... args) {
            fiber completer{[&operation, args...] { operation.complete(args...); }};
            return operation.start(use_fiber);
        };
        manual_operation<> nothing;
        static_assert(std::is_void_v<decltype(nothing.start(use_fiber))>);
        await(nothing);
        manual_operation<int> one;
        CHECK(await(one, 1) == 1);
        manual_operation<int, std::string> two;
        CHECK(await(two, 1, std::string{"two"}) == std::tuple{1, std::string{"two"}});
        manual_operation<error_code> code;
        static_assert(std::is_void_v<decltype(code.start(use_fiber))>);
        await(code, error_code{});
        manual_operation<error_code, int> code_and_one;
        CHECK(await(code_and_one, error_code{}, 1) == 1);
        manual_operation<error_code, int, long> code_and_two;
        CHECK(await(code_and_two, error_code{}, 1, 2L) == std::tuple{1, 2L});
        manual_operation<std::exception_ptr, int> pointer_and_one;
        CHECK(await(pointer_and_one, nullptr, 1) == 1);
        manual_operation<std::exception_ptr> pointer;
        await(pointer, nullptr);
    });
}

TEST_CASE("a result may be a thing that can only be moved, and has no default") {
    testing::run([] {
        struct token {
            explicit token(int number) : value{std::make_unique<int>(number)} {}
            std::unique_ptr<int> value;
        };
        manual_operation<error_code, token> operation;
        fiber completer{[&] { operation.complete({}, token{7}); }};
        CHECK(*operation.start(use_fiber).value == 7);
    });
}

TEST_CASE("an error is thrown as std::system_error, an exception_ptr as what it holds") {
    testing::run([] {
        manual_operation<error_code, int> failing;
        fiber completer{[&] { failing.complete(refused, 0); }};
        CHECK(thrown_by([&] { failing.start(use_fiber); }) == std::errc::connection_refused);
        completer.join();

        manual_operation<std::exception_ptr> throwing;
        fiber thrower{[&] { throwing.complete(std::make_exception_ptr(std::out_of_range{"far"})); }};
        CHECK_THROWS_WITH_AS(throwing.start(use_fiber), "far", std::out_of_range);
    });
}

TEST_CASE("use_fiber[error], as_tuple and redirect_error give the error instead") {
    testing::run([] {
        manual_operation<error_code, int> operation;
        const auto complete_later = [&](error_code code, int value) {
            return fiber{[&operation, code, value] { operation.complete(code, value); }};
        };
        error_code error;
        {
            auto completer = complete_later(refused, 3);
            CHECK(operation.start(use_fiber[error]) == 3);
            CHECK(error == refused);
        }
        {
            auto completer = complete_later({}, 4);
            CHECK(operation.start(use_fiber[error]) == 4);
            CHECK(!error);
        }
        {
            auto completer = complete_later(refused, 5);
            CHECK(operation.start(asio::as_tuple(use_fiber)) == std::tuple{refused, 5});
        }
        {
            auto completer = complete_later(refused, 6);
            CHECK(operation.start(asio::redirect_error(use_fiber, error)) == 6);
            CHECK(error == refused);
        }
    });
}

TEST_CASE("an operation may complete before its initiating function returns") {
    testing::run([] {
        manual_operation<error_code, int> operation;
        operation.when_started = [&] {
            CHECK(!this_fiber::active());
            operation.complete({}, 1);
        };
        CHECK(operation.start(use_fiber) == 1);
    });
}

TEST_CASE("an initiating function that throws leaves nothing behind") {
    testing::run([] {
        manual_operation<> operation;
        operation.when_started = [&] {
            operation.drop();
            throw std::runtime_error{"not today"};
        };
        CHECK_THROWS_WITH_AS(operation.start(use_fiber), "not today", std::runtime_error);
    });
}

TEST_CASE("a handler that is destroyed without being called is an error, whatever the form") {
    testing::run([] {
        manual_operation<error_code, int> operation;
        error_code error;
        const auto dropped = [&](auto token) {
            fiber dropper{[&] { operation.drop(); }};
            return thrown_by([&] { operation.start(token); });
        };
        CHECK(dropped(use_fiber) == std::error_code{aborted});
        CHECK(dropped(use_fiber[error]) == std::error_code{aborted});
        CHECK(dropped(asio::as_tuple(use_fiber)) == std::error_code{aborted});
    });
}

TEST_CASE("an io_context that is destroyed ends the operations that wait in it") {
    coir::run([] {
        auto doomed = std::make_unique<asio::io_context>();
        fiber destroyer{[&] { doomed.reset(); }};
        CHECK(thrown_by([&] { asio::post(*doomed, use_fiber); }) == std::error_code{aborted});
    });
}

TEST_CASE("deferred operations and default tokens") {
    coir::run([] {
        asio::steady_timer timer{this_hub_io_context(), 1ms};
        auto later = timer.async_wait(asio::deferred);
        std::move(later)(use_fiber);

        use_fiber_t::as_default_on_t<asio::steady_timer> another{this_hub_io_context(), 1ms};
        another.async_wait();
        auto third = use_fiber_t::as_default_on(asio::steady_timer{this_hub_io_context(), 1ms});
        third.async_wait();
    });
}

TEST_CASE("bind_executor, bind_allocator and bind_cancellation_slot do as they say") {
    coir::run([] {
        running_context elsewhere;
        asio::steady_timer timer{this_hub_io_context()};
        auto strand = asio::make_strand(elsewhere.context());
        CHECK(wait_twice(timer, asio::bind_executor(strand, use_fiber)) == elsewhere.thread());
        CHECK(wait_twice(timer, use_fiber) == std::this_thread::get_id());

        timer.expires_after(1ms);
        timer.async_wait(asio::bind_allocator(std::allocator<int>{}, use_fiber));

        asio::cancellation_signal signal;
        timer.expires_after(1h);
        fiber canceller{[&] { signal.emit(asio::cancellation_type::terminal); }};
        error_code error;
        timer.async_wait(asio::bind_cancellation_slot(signal.slot(), use_fiber[error]));
        CHECK(error == aborted);
    });
}

// ---- where it completes ---------------------------------------------------------------------------------------------

TEST_CASE("a thousand timers") {
    coir::run([] {
        fiber_group group;
        int done = 0;
        for (int i = 0; i < 1000; ++i)
            group.spawn([&, i] {
                asio::steady_timer timer{this_hub_io_context(), std::chrono::microseconds{(i * 7919) % 20'000}};
                timer.async_wait(use_fiber);
                ++done;
            });
        group.join();
        CHECK(done == 1000);
    });
}

TEST_CASE("operations complete on any thread: a pool, a strand, an io_context elsewhere") {
    running_context elsewhere;
    asio::thread_pool pool{3};
    auto strand = asio::make_strand(pool);
    coir::run({.hubs = 2}, [&] {
        fiber_group group;
        for (int i = 0; i < 8; ++i)
            group.spawn({.on = placement::any_hub}, [&] {
                const auto here = std::this_thread::get_id();
                asio::steady_timer in_pool{pool};
                asio::steady_timer in_strand{strand};
                asio::steady_timer in_context{elsewhere.context()};
                for (int k = 0; k < 10; ++k) {
                    for (auto* timer : {&in_pool, &in_strand, &in_context}) {
                        timer->expires_after(std::chrono::microseconds{k});
                        timer->async_wait(use_fiber);
                        CHECK(std::this_thread::get_id() == here);
                    }
                    asio::post(pool, use_fiber);
                    asio::post(strand, use_fiber);
                    wait_twice(in_strand, use_fiber);
                    CHECK(wait_twice(in_context, use_fiber) == elsewhere.thread());
                }
            });
        group.join();
    });
    pool.join();
}

TEST_CASE("outside of fibers it blocks the thread") {
    running_context elsewhere;
    asio::steady_timer timer{elsewhere.context(), 1ms};
    timer.async_wait(use_fiber);
    CHECK(wait_twice(timer, use_fiber) == elsewhere.thread());
}

TEST_CASE("a handler on a hub must not await, and is told so") {
    coir::run([] {
        event done;
        asio::post(this_hub_io_context(), [&] {
            asio::steady_timer timer{this_hub_io_context(), 1ms};
            CHECK_THROWS_AS(timer.async_wait(use_fiber), std::logic_error);
            done.set();
        });
        done.wait();
    });
}

TEST_CASE("in virtual time, what runs elsewhere is waited for before time goes on") {
    asio::thread_pool pool{1};
    testing::run([&] {
        const auto start = clock::now();
        bool slept = false;
        fiber sleeper{[&] {
            this_fiber::sleep_for(1h);
            slept = true;
        }};
        asio::steady_timer timer{pool, 5ms};
        timer.async_wait(use_fiber);
        CHECK(!slept);
        CHECK(clock::now() == start);
    });
    pool.join();
}

TEST_CASE("channels carry values between fibers and whatever else speaks Asio") {
    coir::run([] {
        using channel = asio::experimental::channel<void(error_code, std::string)>;
        channel words{this_hub_io_context(), 1};
        fiber sender{[&] {
            for (const char* word : {"a", "b", "c"})
                words.async_send({}, word, use_fiber);
            words.close();
        }};
        std::string all;
        error_code error;
        for (;;) {
            auto word = words.async_receive(use_fiber[error]);
            if (error)
                break;
            all += word;
        }
        CHECK(all == "abc");
        CHECK(error == asio::experimental::error::channel_closed);
    });
}

TEST_CASE("concurrent channels carry values between hubs") {
    coir::run({.hubs = 2}, [] {
        asio::experimental::concurrent_channel<void(error_code, int)> numbers{this_hub_io_context(), 2};
        fiber_group group;
        for (int k = 0; k < 4; ++k)
            group.spawn({.on = placement::any_hub}, [&] {
                for (int i = 1; i <= 50; ++i)
                    numbers.async_send({}, i, use_fiber);
            });
        int sum = 0;
        for (int i = 0; i < 200; ++i)
            sum += numbers.async_receive(use_fiber);
        CHECK(sum == 4 * 1275);
        group.join();
    });
}

TEST_CASE("signals are awaited") {
    coir::run([] {
        asio::signal_set signals{this_hub_io_context(), SIGUSR1, SIGUSR2};
        fiber sender{[] { ::raise(SIGUSR2); }};
        CHECK(signals.async_wait(use_fiber) == SIGUSR2);
    });
}

TEST_CASE("a group of operations: the first ends the others") {
    coir::run([] {
        asio::steady_timer soon{this_hub_io_context(), 1ms};
        asio::steady_timer late{this_hub_io_context(), 1h};
        const auto [order, first, second] =
            asio::experimental::make_parallel_group(late.async_wait(asio::deferred), soon.async_wait(asio::deferred))
                .async_wait(asio::experimental::wait_for_one(), use_fiber);
        CHECK(order[0] == 1);
        CHECK(first == aborted);
        CHECK(!second);
    });
}

TEST_CASE("a group of operations on other threads") {
    asio::thread_pool pool{2};
    coir::run([&] {
        for (int i = 0; i < 50; ++i) {
            asio::steady_timer one{pool, std::chrono::microseconds{i}};
            asio::steady_timer two{pool, std::chrono::microseconds{50 - i}};
            const auto [order, first, second] =
                asio::experimental::make_parallel_group(one.async_wait(asio::deferred), two.async_wait(asio::deferred))
                    .async_wait(asio::experimental::wait_for_all(), use_fiber);
            CHECK(order[0] != order[1]);
            CHECK(!first);
            CHECK(!second);
        }
    });
    pool.join();
}

// ---- cancellation ---------------------------------------------------------------------------------------------------

TEST_CASE("a cancelled fiber ends its operation, waits for that and throws") {
    coir::run([] {
        asio::steady_timer timer{this_hub_io_context(), 1h};
        bool thrown = false;
        fiber waiter{[&] {
            try {
                timer.async_wait(use_fiber);
            } catch (const cancelled&) {
                thrown = true;
                throw;
            }
        }};
        this_fiber::yield();
        waiter.cancel();
        waiter.join();
        CHECK(thrown);
        CHECK(timer.cancel() == 0); // nobody waits any more
    });
}

TEST_CASE("a timeout does the same, in every form") {
    coir::run([] {
        asio::steady_timer timer{this_hub_io_context(), 1h};
        error_code error;
        const auto cut_off = [&](auto token) {
            timeout limit{1ms};
            timer.async_wait(token);
        };
        CHECK_THROWS_AS(cut_off(use_fiber), timed_out);
        CHECK_THROWS_AS(cut_off(use_fiber[error]), timed_out);
        CHECK_THROWS_AS(cut_off(asio::as_tuple(use_fiber)), timed_out);
        CHECK(!try_for(1ms, [&] { timer.async_wait(use_fiber); }));
        // Here the error is already elsewhere; so the next wait throws.
        timeout limit{1ms};
        timer.async_wait(asio::redirect_error(use_fiber, error));
        CHECK(error == aborted);
        CHECK_THROWS_AS(this_fiber::sleep_for(1h), timed_out);
    });
}

TEST_CASE("a fiber that has been cancelled starts no operation") {
    testing::run([] {
        manual_operation<> operation;
        bool started = false;
        operation.when_started = [&] { started = true; };
        fiber waiter{[&] { operation.start(use_fiber); }};
        waiter.cancel();
        waiter.join();
        CHECK(!started);
    });
}

TEST_CASE("an operation is asked to end in every way, and its own end is waited for") {
    testing::run([] {
        manual_operation<error_code> operation;
        event asked;
        operation.when_cancelled = [&] { asked.set(); };
        bool ended = false;
        fiber waiter{[&] {
            try {
                operation.start(use_fiber);
            } catch (const cancelled&) {
                ended = true;
            }
        }};
        this_fiber::yield();
        waiter.cancel();
        asked.wait();
        CHECK(operation.asked == asio::cancellation_type::all);
        this_fiber::sleep_for(1h);
        CHECK(!ended); // its buffers may still be used
        operation.complete(aborted);
        waiter.join();
        CHECK(ended);
    });
}

TEST_CASE("a value that arrives at the same moment is not lost: the next wait throws") {
    testing::run([] {
        manual_operation<error_code, int> operation;
        operation.when_cancelled = [&] { operation.complete({}, 7); };
        int value = 0;
        bool again = false;
        fiber waiter{[&] {
            value = operation.start(use_fiber);
            try {
                this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
                again = true;
            }
        }};
        this_fiber::yield();
        waiter.cancel();
        waiter.join();
        CHECK(value == 7);
        CHECK(again);
    });
}

TEST_CASE("an operation that cannot be cancelled is waited for") {
    testing::run([] {
        manual_operation<error_code, int> operation;
        int value = 0;
        fiber waiter{[&] { value = operation.start(use_fiber); }};
        this_fiber::yield();
        waiter.cancel();
        this_fiber::sleep_for(1h);
        CHECK(value == 0);
        operation.complete({}, 7);
        waiter.join();
        CHECK(value == 7);
    });
}

TEST_CASE("behind a shield nothing is asked to end") {
    testing::run([] {
        manual_operation<error_code, int> operation;
        operation.when_cancelled = [&] { FAIL("asked to end"); };
        int value = 0;
        fiber waiter{[&] {
            const shield farewell;
            value = operation.start(use_fiber);
        }};
        this_fiber::yield();
        waiter.cancel();
        this_fiber::sleep_for(1s);
        operation.complete({}, 7);
        waiter.join();
        CHECK(value == 7);
    });
}

TEST_CASE("cancelled at each wait in turn, every operation ends once and nothing is left") {
    const auto waits = testing::cancel_each_wait(1, [] {
        manual_operation<error_code, int> numbers;
        manual_operation<error_code> written;
        numbers.when_cancelled = [&] { numbers.complete(aborted, 0); };
        written.when_cancelled = [&] { written.complete(aborted); };
        int sum = 0;
        {
            fiber_group group;
            group.spawn([&] {
                for (int i = 0; i < 3; ++i) {
                    const int got = numbers.start(use_fiber);
                    const shield whatever_happens;
                    sum += got;
                }
            });
            group.spawn([&] {
                for (int i = 0; i < 2; ++i)
                    written.start(asio::as_tuple(use_fiber));
            });
            group.spawn([&] {
                const shield to_the_end; // or nobody would complete them any more
                for (int i = 0; i < 10; ++i) {
                    if (numbers.pending())
                        numbers.complete({}, 1);
                    if (written.pending())
                        written.complete({});
                    this_fiber::sleep_for(1s);
                }
            });
            group.join();
        }
        CHECK(!numbers.pending());
        CHECK(!written.pending());
        CHECK(sum <= 3);
    });
    CHECK(waits >= 5);
}

TEST_CASE("operations that run elsewhere are cancelled there") {
    asio::thread_pool pool{2};
    running_context elsewhere;
    auto strand = asio::make_strand(pool);
    coir::run([&] {
        for (int i = 0; i < 20; ++i) {
            asio::steady_timer in_pool{pool, 1h};
            asio::steady_timer in_strand{strand, 1h};
            asio::steady_timer in_context{elsewhere.context(), 1h};
            asio::steady_timer two_steps{strand};
            asio::steady_timer in_other_strand{pool};
            auto other_strand = asio::make_strand(pool);
            fiber_group group;
            group.spawn([&] { in_pool.async_wait(use_fiber); });
            group.spawn([&] { in_strand.async_wait(asio::as_tuple(use_fiber)); });
            group.spawn([&] { in_context.async_wait(use_fiber); });
            group.spawn([&] {
                for (;;)
                    wait_twice(two_steps, use_fiber);
            });
            group.spawn([&] {
                for (;;)
                    wait_twice(in_other_strand, asio::bind_executor(other_strand, use_fiber));
            });
            this_fiber::sleep_for(std::chrono::microseconds{i * 100});
            group.cancel();
            group.join();
        }
    });
    pool.join();
}

TEST_CASE("completion and cancellation race, and one of them wins each time") {
    asio::thread_pool pool{2};
    coir::run([&] {
        int completed = 0;
        int cut_off = 0;
        for (int i = 0; i < 300; ++i) {
            asio::steady_timer timer{pool, std::chrono::microseconds{i % 60}};
            timeout limit{std::chrono::microseconds{30}};
            try {
                timer.async_wait(use_fiber);
                ++completed;
            } catch (const timed_out&) {
                ++cut_off;
            }
        }
        CHECK(completed + cut_off == 300);
    });
    pool.join();
}

TEST_CASE("in virtual time, operations elsewhere are cancelled at each wait in turn") {
    const auto waits = testing::cancel_each_wait(1, [] {
        asio::thread_pool pool{1};
        asio::experimental::concurrent_channel<void(error_code, int)> numbers{pool};
        struct closing {
            decltype(numbers)& channel;
            ~closing() // whoever goes, the other does not wait for ever
            {
                channel.close();
                channel.cancel(); // close leaves those who send
            }
        };
        int received = 0;
        fiber_group group;
        group.spawn([&] {
            const closing at_the_end{numbers};
            for (int i = 0; i < 3; ++i)
                numbers.async_send({}, 1, use_fiber);
        });
        group.spawn([&] {
            const closing at_the_end{numbers};
            for (; received < 3; ++received)
                numbers.async_receive(use_fiber);
        });
        try {
            group.join();
        } catch (const std::system_error& error) {
            CHECK(error.code().category() == std::error_code{closed}.category());
        }
        CHECK(received <= 3);
        pool.join();
    });
    CHECK(waits >= 1);
}

TEST_SUITE_END();
