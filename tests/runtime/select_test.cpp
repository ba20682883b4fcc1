// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/auto_reset_event.hpp>
#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/promise.hpp>
#include <coir/select.hpp>
#include <coir/semaphore.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

const auto nothing = [] {};

/// Something of a user's own to select: a bell that wakes one for each stroke.
class bell {
public:
    void strike()
    {
        wait_queue::guard held{guard_};
        if (waiters_.empty(held))
            ++strokes_;
        else
            waiters_.notify_one(held);
    }

private:
    friend class bell_case;
    spin_lock guard_;
    wait_queue waiters_;
    int strokes_ = 0;
};

class bell_case final : public select_case {
public:
    explicit bell_case(bell& awaited) : select_case{awaited.guard_, awaited.waiters_}, awaited_{awaited}
    {
        stand_at(place_);
    }

private:
    progress try_now(const wait_queue::guard&, wake_list&) noexcept override
    {
        if (awaited_.strokes_ == 0)
            return progress::none;
        --awaited_.strokes_;
        return progress::done;
    }
    bell& awaited_;
    waiter place_;
};

} // namespace

TEST_SUITE_BEGIN("select");

TEST_CASE("select does the one case that can be done, and tells which") {
    testing::run([] {
        channel<int> left{1};
        channel<int> right{1};
        right.send(7);
        const no_suspend here;
        int received = 0;
        auto keep = [&](std::optional<int> value) { received = *value; };
        CHECK(select(on_receive(left, keep), on_receive(right, keep)) == 1);
        CHECK(received == 7);
        CHECK(select(on_receive(left, keep), on_send(right, 8, nothing)) == 1);
        CHECK(right.receive() == 8);
    });
}

TEST_CASE("select waits for the first case that becomes ready, and leaves the others") {
    testing::run([] {
        channel<int> left;
        channel<int> right;
        fiber sender{[&] {
            this_fiber::sleep_for(1s);
            right.send(1);
            left.send(2);
        }};
        const auto start = clock::now();
        int received = 0;
        auto keep = [&](std::optional<int> value) { received = *value; };
        CHECK(select(on_receive(left, keep), on_receive(right, keep)) == 1);
        CHECK(received == 1);
        CHECK(clock::now() - start == 1s);
        CHECK(left.receive() == 2);
        sender.join();
    });
}

TEST_CASE("select sends, and moves from the value only if it was sent") {
    testing::run([] {
        channel<std::unique_ptr<int>> full{1};
        full.send(std::make_unique<int>(1));
        channel<std::unique_ptr<int>> hand_over;
        auto value = std::make_unique<int>(2);
        CHECK(select(on_send(full, std::move(value), nothing), on_timeout(1s, nothing)) == 1);
        REQUIRE(value);
        fiber receiver{[&] { CHECK(**hand_over.receive() == 2); }};
        CHECK(select(on_send(full, std::move(value), nothing), on_send(hand_over, std::move(value), nothing)) == 1);
        CHECK(!value);
        receiver.join();
    });
}

TEST_CASE("select copies a value that it may not move from") {
    testing::run([] {
        channel<std::string> words{2};
        const std::string word = "a word that is too long for a small string";
        std::string other = "another";
        select(on_send(words, word, nothing));
        select(on_send(words, other, nothing));
        CHECK(other == "another");
        CHECK(words.receive() == word);
        CHECK(words.receive() == other);
    });
}

TEST_CASE("a closed channel is ready: receiving gives nothing and sending throws") {
    testing::run([] {
        for (const bool later : {false, true}) {
            channel<int> numbers{1};
            fiber closer{[&] {
                if (later)
                    this_fiber::sleep_for(1s);
                numbers.close();
            }};
            if (!later)
                this_fiber::yield();
            bool told = false;
            CHECK(select(on_receive(numbers, [&](std::optional<int> value) { told = !value; })) == 0);
            CHECK(told);
            closer.join();
        }
        channel<int> full;
        fiber closer{[&] { full.close(); }};
        CHECK_THROWS_AS(select(on_send(full, 1, [] { FAIL_CHECK("sent"); })), channel_closed);
        CHECK_THROWS_AS(select(on_send(full, 1, [] { FAIL_CHECK("sent"); })), channel_closed);
    });
}

TEST_CASE("select's timers: the first to come") {
    testing::run([] {
        channel<int> silent;
        const auto start = clock::now();
        CHECK(select(on_timeout(2h, nothing), on_receive(silent, [](auto) {}), on_time(start + 1h, nothing)) == 2);
        CHECK(clock::now() - start == 1h);
        CHECK(select(on_time(start, nothing), on_receive(silent, [](auto) {})) == 0);
        CHECK(clock::now() - start == 1h);
    });
}

TEST_CASE("otherwise is done if nothing else can be done now") {
    testing::run([] {
        channel<int> numbers{1};
        const no_suspend here;
        int calls = 0;
        auto count = [&] { ++calls; };
        CHECK(select(on_receive(numbers, [](auto) {}), otherwise{count}) == 1);
        CHECK(calls == 1);
        numbers.send(1);
        CHECK(select(on_receive(numbers, [](auto) {}), otherwise{count}) == 0);
        CHECK(calls == 1);
        CHECK(numbers.size() == 0);
    });
}

TEST_CASE("select takes events, semaphores, futures and fibers, ready before or becoming so") {
    testing::run([] {
        for (const auto delay : {0s, 1s}) {
            auto later = [&](auto action) {
                return fiber{[=] {
                    this_fiber::sleep_for(delay);
                    action();
                }};
            };
            event open;
            binary_semaphore place{0};
            promise<int> answer;
            auto result = answer.get_future();
            fiber worker{[] { this_fiber::sleep_for(1h); }};
            auto wait = [&] {
                this_fiber::sleep_for(1s - delay);
                return select(on_set(open, [&] { open.reset(); }), on_acquire(place, nothing),
                              on_ready(result,
                                       [&] {
                                           CHECK(result.get() == 3);
                                           result = promise<int>{}.get_future(); // it is broken, which is ready too
                                       }),
                              on_end(worker, [&] { worker.join(); }));
            };
            auto setter = later([&] { open.set(); });
            CHECK(wait() == 0);
            auto releaser = later([&] { place.release(); });
            CHECK(wait() == 1);
            CHECK(!place.try_acquire());
            auto canceller = later([&] { worker.cancel(); });
            CHECK(wait() == 3);
            CHECK(!worker.joinable());
            auto thinker = later([&] { answer.set_value(3); });
            worker = fiber{[] { this_fiber::sleep_for(1h); }};
            CHECK(wait() == 2);
            CHECK(select(on_ready(result, nothing), on_end(worker, nothing)) == 0);
            worker.cancel();
        }
    });
}

TEST_CASE("select resets an auto_reset_event if it was set, and takes one wake-up if not") {
    testing::run([] {
        auto_reset_event work_came;
        channel<int> silent;
        auto wait = [&] { return select(on_receive(silent, [](auto) {}), on_set(work_came, nothing)); };
        work_came.set();
        CHECK(wait() == 1);
        CHECK(!work_came.try_wait());
        fiber other{[&] { CHECK(wait() == 1); }};
        this_fiber::yield();
        work_came.set();
        CHECK(!work_came.try_wait());
        other.join();
    });
}

TEST_CASE("select refuses futures without a state and fibers that are not joinable") {
    testing::run([] {
        const future<int> none;
        CHECK_THROWS_AS(select(on_ready(none, nothing)), future_error);
        const fiber nobody;
        CHECK_THROWS_AS(select(on_end(nobody, nothing)), std::system_error);
    });
}

TEST_CASE("a handler may wait, throw and select again") {
    testing::run([] {
        channel<int> numbers{2};
        numbers.send(1);
        numbers.send(2);
        int sum = 0;
        select(on_receive(numbers, [&](std::optional<int> first) {
            this_fiber::sleep_for(1s);
            select(on_receive(numbers, [&](std::optional<int> second) { sum = *first + *second; }));
        }));
        CHECK(sum == 3);
        CHECK_THROWS_AS(select(on_timeout(1s, [] { throw 1; })), int);
    });
}

TEST_CASE("select begins anywhere: of cases that are always ready, none starves") {
    testing::run([] {
        constexpr int rounds = 4000;
        channel<int> a{unbounded};
        channel<int> b{unbounded};
        event always;
        always.set();
        int seen[3] = {};
        for (int i = 0; i < rounds; ++i) {
            a.send(i);
            b.send(i);
            ++seen[select(on_receive(a, [](auto) {}), on_receive(b, [](auto) {}), on_set(always, nothing))];
        }
        for (const int count : seen)
            CHECK(count > rounds / 6); // half of what is fair
    });
}

TEST_CASE("waiting selects and plain receivers are served in the order of their arrival") {
    testing::run([] {
        channel<int> numbers;
        channel<int> silent;
        std::string log;
        auto keep = [&](char letter) {
            return [&log, letter](std::optional<int> value) { log += letter + std::to_string(*value); };
        };
        fiber a{[&] { select(on_receive(silent, keep('?')), on_receive(numbers, keep('a'))); }};
        fiber b{[&] { keep('b')(numbers.receive()); }};
        fiber c{[&] { select(on_receive(numbers, keep('c')), on_receive(silent, keep('?'))); }};
        this_fiber::yield();
        for (int i = 1; i <= 3; ++i)
            numbers.send(i);
        this_fiber::yield();
        CHECK(log == "a1b2c3");
    });
}

TEST_CASE("two selects meet on an unbuffered channel, whoever comes first") {
    testing::run([] {
        for (const bool sender_first : {false, true}) {
            channel<int> meeting;
            channel<int> silent;
            int received = 0;
            auto send = [&] { CHECK(select(on_receive(silent, [](auto) {}), on_send(meeting, 5, nothing)) == 1); };
            auto receive = [&] {
                auto keep = [&](std::optional<int> value) { received = *value; };
                CHECK(select(on_receive(meeting, keep), on_receive(silent, [](auto) {})) == 0);
            };
            fiber first{[&] { sender_first ? send() : receive(); }};
            fiber second{[&] { sender_first ? receive() : send(); }};
            first.join();
            second.join();
            CHECK(received == 5);
        }
    });
}

TEST_CASE("a select that sends and receives on one channel does not meet itself, but another like it") {
    testing::run([] {
        channel<int> meeting;
        int sent = 0;
        int received = 0;
        auto either = [&](int mine) {
            select(on_send(meeting, int{mine}, [&] { ++sent; }),
                   on_receive(meeting, [&, mine](std::optional<int> value) {
                       CHECK(*value == 3 - mine);
                       ++received;
                   }));
        };
        fiber first{either, 1};
        this_fiber::sleep_for(1h);
        CHECK(sent + received == 0);
        fiber second{either, 2};
        first.join();
        second.join();
        CHECK(sent == 1);
        CHECK(received == 1);

        bool closed = false;
        fiber third{[&] {
            try {
                select(on_send(meeting, 1, nothing), on_receive(meeting, [&](auto value) { closed = !value; }));
            } catch (const channel_closed&) {
                closed = true;
            }
        }};
        this_fiber::yield();
        meeting.close();
        third.join();
        CHECK(closed);
    });
}

TEST_CASE("one that is cancelled in select has done nothing, and its places are free") {
    testing::run([] {
        channel<int> numbers;
        channel<int> full;
        binary_semaphore place{0};
        auto wait = [&] {
            select(on_receive(numbers, [](auto) { FAIL_CHECK("received"); }),
                   on_send(full, 1, [] { FAIL_CHECK("sent"); }), on_acquire(place, [] { FAIL_CHECK("acquired"); }));
        };
        fiber unlucky{[&] { CHECK_THROWS_AS(wait(), cancelled); }};
        fiber late{[&] {
            const timeout limit{1s};
            CHECK_THROWS_AS(wait(), timed_out);
        }};
        this_fiber::sleep_for(2s);
        unlucky.cancel();
        CHECK(!numbers.try_send(1)); // before they have left the queues
        CHECK(!full.try_receive());
        place.release();
        CHECK(place.try_acquire());
        unlucky.join();
        late.join();
        CHECK(!numbers.try_send(1));
        CHECK(!full.try_receive());
        place.release();
        CHECK(place.try_acquire());
    });
}

TEST_CASE("what was handed over before the cancellation counts") {
    testing::run([] {
        channel<int> numbers;
        channel<int> silent;
        int received = 0;
        fiber other{[&] {
            select(on_receive(silent, [](auto) {}),
                   on_receive(numbers, [&](std::optional<int> value) { received = *value; }));
        }};
        this_fiber::yield();
        numbers.send(7);
        CHECK(!silent.try_send(8)); // it has been taken
        other.cancel();
        other.join();
        CHECK(received == 7);
    });
}

TEST_CASE("what was selected may be destroyed by who was woken, although others selected it too") {
    testing::run([] {
        auto open = std::make_unique<event>();
        channel<int> silent;
        std::vector<fiber> waiters;
        int passed = 0;
        for (int i = 0; i < 3; ++i)
            waiters.emplace_back([&, &shared = *open] {
                select(on_receive(silent, [](auto) {}), on_set(shared, [&] {
                           ++passed;
                           open.reset();
                       }));
            });
        this_fiber::yield();
        open->set();
        for (auto& each : waiters)
            each.join();
        CHECK(passed == 3);
    });
}

TEST_CASE("a select over a range tells which case it was, and may be repeated") {
    testing::run([] {
        std::vector<std::unique_ptr<channel<int>>> owners;
        std::vector<receive_case<int>> cases;
        for (int i = 0; i < 40; ++i) { // more than what fits without an allocation
            owners.push_back(std::make_unique<channel<int>>());
            cases.emplace_back(*owners.back());
        }
        CHECK(try_select(cases) == cases.end());
        const auto start = clock::now();
        CHECK(select_for(1s, cases) == cases.end());
        CHECK(select_until(start + 2s, cases) == cases.end());
        CHECK(clock::now() - start == 2s);
        for (const std::size_t which : {0U, 39U, 17U}) {
            fiber sender{[&] { owners[which]->send(static_cast<int>(which)); }};
            const auto chosen = select(cases);
            CHECK(chosen - cases.begin() == static_cast<std::ptrdiff_t>(which));
            CHECK(chosen->result() == static_cast<int>(which));
            CHECK(!chosen->result());
        }
        fiber sender{[&] { owners[3]->send(3); }};
        this_fiber::yield();
        CHECK(try_select(cases)->result() == 3);
        cases.clear();
        CHECK(select(cases) == cases.end());
    });
}

TEST_CASE("a range may hold pointers to cases of different kinds") {
    testing::run([] {
        channel<int> numbers;
        event open;
        std::vector<std::unique_ptr<select_case>> cases;
        cases.push_back(std::make_unique<receive_case<int>>(numbers));
        cases.push_back(std::make_unique<event_case>(open));
        cases.push_back(std::make_unique<timer_case>(clock::now() + 1s));
        CHECK(select(cases) - cases.begin() == 2);
        cases.pop_back();
        int value = 5;
        cases.push_back(std::make_unique<send_case<int>>(numbers, value));
        fiber setter{[&] { open.set(); }};
        CHECK(select(cases) - cases.begin() == 1);
    });
}

TEST_CASE("a program may make things of its own selectable") {
    testing::run([] {
        bell noon;
        bell midnight;
        fiber ringer{[&] { midnight.strike(); }};
        CHECK(select(bell_case{noon}, bell_case{midnight}) == 1);
        noon.strike();
        CHECK(select(bell_case{noon}, bell_case{midnight}, otherwise{nothing}) == 0);
        CHECK(select(bell_case{noon}, bell_case{midnight}, otherwise{nothing}) == 2);
    });
}

TEST_CASE("select sends into an unbounded channel without waiting") {
    testing::run([] {
        channel<int> numbers{unbounded};
        const no_suspend here;
        for (int i = 0; i < 100; ++i)
            select(on_send(numbers, int{i}, nothing));
        for (int i = 0; i < 100; ++i)
            CHECK(numbers.receive() == i);
    });
}

TEST_CASE("a plain thread selects") {
    channel<int> numbers;
    channel<int> silent;
    const auto start = clock::now();
    CHECK(select(on_receive(numbers, [](auto) {}), on_timeout(1ms, nothing)) == 1);
    CHECK(clock::now() - start >= 1ms);
    std::thread sender{[&] { select(on_receive(silent, [](auto) {}), on_send(numbers, 5, nothing)); }};
    int received = 0;
    coir::run([&] {
        select(on_receive(silent, [](auto) {}),
               on_receive(numbers, [&](std::optional<int> value) { received = *value; }));
    });
    sender.join();
    CHECK(received == 5);
}

TEST_CASE("the deadlock report says that a fiber selects") {
    channel<int> silent;
    try {
        testing::run([&] { select(on_receive(silent, [](auto) {})); });
        FAIL_CHECK("no deadlock");
    } catch (const deadlock& report) {
        CHECK(std::string{report.what()}.find("select") != std::string::npos);
    }
}

TEST_SUITE_END();
