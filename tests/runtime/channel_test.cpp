// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/channel.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("channel");

TEST_CASE("values come out of a buffered channel in the order they were sent") {
    testing::run([] {
        channel<int> numbers{16};
        fiber producer{[&] {
            for (int i = 0; i < 100; ++i)
                numbers.send(i);
            numbers.close();
        }};
        int expected = 0;
        for (int number : numbers)
            CHECK(number == expected++);
        CHECK(expected == 100);
    });
}

TEST_CASE("a buffered channel takes as many values as its capacity without suspending") {
    testing::run([] {
        channel<int> numbers{3};
        CHECK(numbers.capacity() == 3);
        no_suspend here;
        for (int i = 0; i < 3; ++i)
            numbers.send(i);
        CHECK(numbers.size() == 3);
        CHECK(!numbers.try_send(3));
        CHECK(numbers.receive() == 0);
        numbers.send(3);
        for (int i = 1; i <= 3; ++i)
            CHECK(numbers.receive() == i);
        CHECK(!numbers.try_receive());
    });
}

TEST_CASE("an unbuffered send ends when the value has been received") {
    testing::run([] {
        channel<int> hand_over;
        CHECK(hand_over.capacity() == 0);
        std::string log;
        fiber sender{[&] {
            hand_over.send(1);
            log += "sent ";
        }};
        this_fiber::sleep_for(1s);
        CHECK(log.empty());
        CHECK(hand_over.size() == 0);
        CHECK(hand_over.receive() == 1);
        CHECK(log.empty());
        this_fiber::yield();
        CHECK(log == "sent ");
    });
}

TEST_CASE("an unbuffered channel serves a receiver that waits without suspending the sender") {
    testing::run([] {
        channel<int> hand_over;
        int received = 0;
        fiber receiver{[&] { received = *hand_over.receive(); }};
        this_fiber::yield();
        {
            no_suspend here;
            hand_over.send(5);
        }
        CHECK(!hand_over.try_send(6)); // the one receiver has been served
        receiver.join();
        CHECK(received == 5);
    });
}

TEST_CASE("waiting receivers are served in the order of their arrival") {
    testing::run([] {
        for (std::size_t capacity : {0U, 1U, 8U}) {
            channel<int> numbers{capacity};
            std::string log;
            auto take = [&](char letter) { log += letter + std::to_string(*numbers.receive()); };
            fiber a{take, 'a'};
            fiber b{take, 'b'};
            fiber c{take, 'c'};
            this_fiber::yield();
            for (int i = 1; i <= 3; ++i)
                numbers.send(i);
            this_fiber::yield();
            CHECK(log == "a1b2c3");
        }
    });
}

TEST_CASE("waiting senders are served in the order of their arrival, after what is buffered") {
    testing::run([] {
        for (std::size_t capacity : {0U, 1U, 2U}) {
            channel<std::string> words{capacity};
            std::vector<fiber> senders;
            for (int i = 0; i < 6; ++i)
                senders.emplace_back([&, i] { words.send(std::to_string(i)); });
            this_fiber::yield();
            CHECK(words.size() == capacity);
            std::string log;
            for (int i = 0; i < 6; ++i)
                log += *words.receive();
            CHECK(log == "012345");
        }
    });
}

TEST_CASE("try_send moves from the value only if it was sent, and try_receive never waits") {
    testing::run([] {
        channel<std::unique_ptr<int>> pointers{1};
        auto first = std::make_unique<int>(1);
        auto second = std::make_unique<int>(2);
        CHECK(pointers.try_send(std::move(first)));
        CHECK(!first);
        CHECK(!pointers.try_send(std::move(second)));
        CHECK(second);
        CHECK(**pointers.try_receive() == 1);
        CHECK(!pointers.try_receive());
        CHECK(pointers.try_send(std::move(second)));
        CHECK(**pointers.receive() == 2);

        channel<int> unbuffered;
        CHECK(!unbuffered.try_send(1));
        CHECK(!unbuffered.try_receive());
        fiber sender{[&] { unbuffered.send(3); }};
        this_fiber::yield();
        CHECK(unbuffered.try_receive() == 3);
    });
}

TEST_CASE("receive_for gives up at its deadline") {
    testing::run([] {
        channel<int> numbers{1};
        const auto start = clock::now();
        CHECK(!numbers.receive_for(1h));
        CHECK(clock::now() - start == 1h);
        numbers.send(1);
        CHECK(numbers.receive_for(1h) == 1);
        CHECK(clock::now() - start == 1h);
    });
}

TEST_CASE("send_for gives up at its deadline, and the value was not sent") {
    testing::run([] {
        for (std::size_t capacity : {0U, 1U}) {
            channel<int> numbers{capacity};
            for (std::size_t i = 0; i < capacity; ++i)
                numbers.send(0);
            const auto start = clock::now();
            CHECK(!numbers.send_for(1, 1h));
            CHECK(clock::now() - start == 1h);
            CHECK(numbers.size() == capacity);
            while (numbers.try_receive()) {}
            CHECK(!numbers.receive_for(1s));
        }
    });
}

TEST_CASE("send_until and receive_until give up at their instant") {
    testing::run([] {
        channel<int> numbers{1};
        const auto start = clock::now();
        CHECK(!numbers.receive_until(start + 1h));
        CHECK(clock::now() - start == 1h);
        CHECK(numbers.send_until(1, start));
        CHECK(!numbers.send_until(2, start + 2h));
        CHECK(clock::now() - start == 2h);
        CHECK(numbers.receive_until(start) == 1);
    });
}

TEST_CASE("a receiver that got nothing is told whether the channel is closed") {
    testing::run([] {
        channel<int> numbers{1};
        CHECK(!numbers.receive_for(1s).is_closed());
        CHECK(!numbers.try_receive().is_closed());
        fiber closer{[&] {
            this_fiber::sleep_for(1s);
            numbers.close();
        }};
        const auto received = numbers.receive_for(1h);
        CHECK(!received);
        CHECK(received.is_closed());
        CHECK(numbers.receive_for(1h).is_closed());
        CHECK(numbers.try_receive().is_closed());
    });
}

TEST_CASE("a value that was not sent is still the sender's") {
    testing::run([] {
        channel<std::unique_ptr<int>> pointers;
        auto value = std::make_unique<int>(1);
        CHECK(!pointers.send_for(std::move(value), 1s));
        REQUIRE(value);
        CHECK(!pointers.send_until(std::move(value), clock::now() + 1s));
        REQUIRE(value);
        fiber unlucky{[&] { CHECK_THROWS_AS(pointers.send(std::move(value)), cancelled); }};
        this_fiber::yield();
        unlucky.cancel();
        unlucky.join();
        REQUIRE(value);
        pointers.close();
        CHECK_THROWS_AS(pointers.send(std::move(value)), channel_closed);
        CHECK(value);
    });
}

TEST_CASE("an unbounded channel takes every value at once, and keeps their order while it grows") {
    testing::run([] {
        channel<std::unique_ptr<int>> numbers{unbounded};
        CHECK(numbers.capacity() == unbounded);
        const no_suspend here;
        int next = 0;
        for (int i = 0; i < 1000; ++i) {
            numbers.send(std::make_unique<int>(i));
            if (i % 3 == 0) // so that it grows with its first value anywhere in the ring
                CHECK(**numbers.receive() == next++);
        }
        CHECK(numbers.try_send(std::make_unique<int>(1000)));
        while (auto value = numbers.try_receive())
            CHECK(**value == next++);
        CHECK(next == 1001);
        numbers.send(nullptr);
    });
}

TEST_CASE("a closed channel refuses values, and gives out those it has") {
    testing::run([] {
        channel<int> numbers{4};
        numbers.send(1);
        numbers.send(2);
        CHECK(!numbers.is_closed());
        numbers.close();
        numbers.close();
        CHECK(numbers.is_closed());
        CHECK_THROWS_AS(numbers.send(3), channel_closed);
        CHECK_THROWS_AS(numbers.try_send(3), channel_closed);
        CHECK(numbers.receive() == 1);
        CHECK(numbers.receive_for(1s) == 2);
        CHECK(!numbers.receive());
        CHECK(!numbers.receive_for(1s));
        CHECK(!numbers.try_receive());
        CHECK(numbers.begin() == numbers.end());
    });
}

TEST_CASE("closing wakes receivers with nothing") {
    testing::run([] {
        channel<int> numbers{1};
        int woken = 0;
        std::vector<fiber> receivers;
        for (int i = 0; i < 3; ++i)
            receivers.emplace_back([&] {
                CHECK(!numbers.receive());
                ++woken;
            });
        this_fiber::yield();
        numbers.close();
        this_fiber::yield();
        CHECK(woken == 3);
    });
}

TEST_CASE("closing wakes senders with channel_closed, and their values were not sent") {
    testing::run([] {
        for (std::size_t capacity : {0U, 1U}) {
            channel<int> numbers{capacity};
            for (std::size_t i = 0; i < capacity; ++i)
                numbers.send(0);
            int refused = 0;
            std::vector<fiber> senders;
            for (int i = 1; i <= 3; ++i)
                senders.emplace_back([&, i] {
                    CHECK_THROWS_AS(numbers.send(i), channel_closed);
                    ++refused;
                });
            this_fiber::yield();
            numbers.close();
            this_fiber::yield();
            CHECK(refused == 3);
            std::size_t left = 0;
            for (int number : numbers) {
                CHECK(number == 0);
                ++left;
            }
            CHECK(left == capacity);
        }
    });
}

TEST_CASE("a sender that is cancelled has not sent") {
    testing::run([] {
        for (std::size_t capacity : {0U, 1U}) {
            channel<int> numbers{capacity};
            for (std::size_t i = 0; i < capacity; ++i)
                numbers.send(0);
            fiber cancelled_one{[&] { CHECK_THROWS_AS(numbers.send(1), cancelled); }};
            fiber other{[&] { numbers.send(2); }};
            this_fiber::yield();
            cancelled_one.cancel();
            for (std::size_t i = 0; i < capacity; ++i) // before it has left the queue
                CHECK(numbers.receive() == 0);
            CHECK(numbers.receive() == 2);
            cancelled_one.join();
            CHECK(!numbers.try_receive());
        }
    });
}

TEST_CASE("a receiver that is cancelled has not received") {
    testing::run([] {
        channel<int> numbers{1};
        fiber cancelled_one{[&] { CHECK_THROWS_AS(numbers.receive(), cancelled); }};
        int received = 0;
        fiber other{[&] { received = *numbers.receive(); }};
        this_fiber::yield();
        cancelled_one.cancel();
        numbers.send(7); // before it has left the queue
        other.join();
        CHECK(received == 7);
    });
}

TEST_CASE("a value handed over before the cancellation is received") {
    testing::run([] {
        channel<int> numbers;
        int received = 0;
        fiber receiver{[&] { received = *numbers.receive(); }};
        this_fiber::yield();
        numbers.send(7);
        receiver.cancel();
        receiver.join();
        CHECK(received == 7);
    });
}

TEST_CASE("a value taken before the cancellation was sent") {
    testing::run([] {
        channel<int> numbers;
        bool sent = false;
        fiber sender{[&] {
            numbers.send(7);
            sent = true;
        }};
        this_fiber::yield();
        CHECK(numbers.receive() == 7);
        sender.cancel();
        sender.join();
        CHECK(sent);
    });
}

TEST_CASE("a timeout cuts off send and receive") {
    testing::run([] {
        channel<int> numbers;
        {
            timeout limit{1s};
            CHECK_THROWS_AS(numbers.receive(), timed_out);
        }
        timeout limit{1s};
        CHECK_THROWS_AS(numbers.send(1), timed_out);
    });
}

TEST_CASE("who waits for a sender that has died is woken when its owner closes the channel") {
    testing::run([] {
        channel<int> numbers{1};
        struct close_at_exit {
            channel<int>& target;
            ~close_at_exit() { target.close(); }
        };
        fiber producer{[&] {
            close_at_exit end{numbers};
            numbers.send(1);
            this_fiber::sleep_for(1s);
            throw 1;
        }};
        int count = 0;
        for (int number : numbers)
            count += number;
        CHECK(count == 1);
        CHECK_THROWS_AS(producer.join(), int);
    });
}

TEST_CASE("a channel destroys the values that nobody received") {
    testing::run([] {
        auto shared = std::make_shared<int>(1);
        {
            channel<std::shared_ptr<int>> pointers{4};
            for (int i = 0; i < 4; ++i)
                pointers.send(shared);
            CHECK(pointers.receive());
            pointers.send(shared);
            CHECK(shared.use_count() == 5);
        }
        CHECK(shared.use_count() == 1);
    });
}

TEST_CASE("many senders and receivers pass every value exactly once, each sender's in order") {
    testing::run([] {
        for (std::size_t capacity : {0U, 1U, 7U}) {
            constexpr std::size_t senders = 5;
            constexpr int each = 200;
            channel<std::pair<std::size_t, int>> values{capacity};
            std::vector<std::vector<int>> seen(senders);
            std::vector<fiber> fibers;
            for (std::size_t sender = 0; sender < senders; ++sender)
                fibers.emplace_back([&, sender] {
                    for (int i = 0; i < each; ++i) {
                        values.send({sender, i});
                        if (i % static_cast<int>(sender + 2) == 0)
                            this_fiber::yield();
                    }
                });
            // They record in the order in which they were served, because that is the order in which they are woken.
            for (int receiver = 0; receiver < 3; ++receiver)
                fibers.emplace_back([&] {
                    for (auto [sender, number] : values)
                        seen[sender].push_back(number);
                });
            for (std::size_t i = 0; i < senders; ++i)
                fibers[i].join();
            values.close();
            for (std::size_t i = senders; i < fibers.size(); ++i)
                fibers[i].join();
            std::vector<int> all(each);
            for (int i = 0; i < each; ++i)
                all[static_cast<std::size_t>(i)] = i;
            for (auto& numbers : seen) {
                std::sort(numbers.begin(), numbers.end());
                CHECK(numbers == all);
            }
        }
    });
}

TEST_CASE("a plain thread and two hubs pass every value through a channel exactly once") {
    for (std::size_t capacity : {std::size_t{0}, std::size_t{3}, unbounded}) {
        constexpr int each = 1500;
        channel<int> values{capacity};
        std::vector<std::atomic<int>> seen(3 * each);
        auto produce = [&](int first) {
            for (int i = 0; i < each; ++i)
                values.send(first + i);
        };
        auto consume = [&] {
            for (int value : values)
                seen[static_cast<std::size_t>(value)].fetch_add(1);
        };
        std::thread plain_producer{produce, 0};
        std::thread plain_consumer{consume};
        std::thread other_hub{[&] {
            coir::run([&] {
                fiber consumer{consume};
                fiber producer{produce, each};
                producer.join();
                consumer.join();
            });
        }};
        std::thread closer;
        coir::run([&] {
            fiber consumer{consume};
            fiber producer{produce, 2 * each};
            producer.join();
            // The others may still send: the channel is closed once all values have been seen.
            closer = std::thread{[&] {
                plain_producer.join();
                for (;;) {
                    int total = 0;
                    for (auto& count : seen)
                        total += count.load();
                    if (total >= 3 * each)
                        break;
                    std::this_thread::yield();
                }
                values.close();
            }};
            consumer.join();
        });
        closer.join();
        plain_consumer.join();
        other_hub.join();
        bool once = true;
        for (auto& count : seen)
            once = once && count.load() == 1;
        CHECK(once);
    }
}

TEST_CASE("a channel may be destroyed by who its closing has woken") {
    for (int round = 0; round < 200; ++round) {
        auto values = std::make_unique<channel<int>>();
        auto* shared = values.get();
        std::thread closer{[shared] { shared->close(); }};
        CHECK(!shared->receive());
        values.reset();
        closer.join();
    }
}

TEST_SUITE_END();
