// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

using namespace coir;
using namespace std::chrono_literals;

namespace {

struct at_exit {
    std::string& log;
    const char* what;
    ~at_exit() { log += what; }
};

} // namespace

TEST_SUITE_BEGIN("runtime");

TEST_CASE("run returns what main returned") {
    CHECK(coir::run([] { return 7; }) == 7);
    CHECK(*coir::run([] { return std::make_unique<int>(8); }) == 8);
    bool ran = false;
    coir::run([&] { ran = this_fiber::active(); });
    CHECK(ran);
    CHECK(!this_fiber::active());
}

TEST_CASE("run throws what main threw") {
    CHECK_THROWS_WITH_AS(coir::run([] { throw std::runtime_error{"main"}; }), "main", std::runtime_error);
    CHECK_THROWS_AS(testing::run([]() -> int { throw 1; }), int);
}

TEST_CASE("run cancels what is left over when main ends, and waits for it") {
    std::string log;
    testing::run([&] {
        fiber{[&] {
            at_exit note{log, "child "};
            this_fiber::sleep_for(1h);
            log += "slept ";
        }}.detach();
        fiber{[&] {
            try {
                this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
                shield clean_up;
                this_fiber::sleep_for(1s);
                log += "slow ";
            }
        }}.detach();
        this_fiber::yield();
        log += "main ";
    });
    CHECK(log == "main child slow ");
}

TEST_CASE("what is started after main has ended is cancelled, too") {
    bool slept = false;
    testing::run([&] {
        fiber{[&] {
            shield clean_up;
            this_fiber::sleep_for(1s);
            fiber{[&] {
                this_fiber::sleep_for(1h);
                slept = true;
            }}.detach();
        }}.detach();
    });
    CHECK(!slept);
}

TEST_CASE("run cancels what is left over when main fails") {
    std::string log;
    CHECK_THROWS_AS(testing::run([&] {
                        fiber{[&] {
                            at_exit note{log, "unwound"};
                            this_fiber::sleep_for(1h);
                        }}.detach();
                        this_fiber::yield();
                        throw 1;
                    }),
                    int);
    CHECK(log == "unwound");
}

TEST_CASE("fibers may be spawned before run, which ends when none are left") {
    runtime hub{std::make_unique<testing::virtual_driver>()};
    std::string log;
    for (char letter : {'a', 'b', 'c'})
        hub.spawn([&, letter] {
            this_fiber::sleep_for(1s);
            log += letter;
        });
    hub.spawn(
        {.name = "named"}, [&](int number) { log += std::string{this_fiber::get_name()} + std::to_string(number); }, 5);
    CHECK(log.empty());
    hub.run();
    CHECK(log.starts_with("named5"));
    CHECK(log.size() == 9);
}

TEST_CASE("a runtime can be run again") {
    runtime hub;
    int runs = 0;
    hub.run();
    for (int i = 0; i < 3; ++i) {
        hub.spawn([&] {
            this_fiber::yield();
            ++runs;
        });
        hub.run();
    }
    CHECK(runs == 3);
    CHECK(run_in(hub, [] { return 5; }) == 5);
    CHECK(run_in(hub, [] {
              this_fiber::yield(); // not cancelled, though the last run ended with a cancellation of all
              return 6;
          }) == 6);
}

TEST_CASE("a runtime that is destroyed without being run cancels its fibers and runs them to their end") {
    std::string log;
    {
        runtime hub{std::make_unique<testing::virtual_driver>()};
        hub.spawn([&] {
            at_exit note{log, "unwound"};
            this_fiber::sleep_for(1h);
            log += "slept";
        });
    }
    CHECK(log == "unwound");
}

TEST_CASE("cancel_all cancels every fiber of the runtime, from any thread") {
    runtime hub;
    std::atomic<bool> waiting{false};
    // All on one thread. But after a test whose fibers were destroyed by another thread, GCC 12's ThreadSanitizer has
    // lost the order of these.
    std::atomic<int> unwound{0};
    for (int i = 0; i < 3; ++i)
        hub.spawn([&] {
            try {
                waiting = true;
                this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
                ++unwound;
                throw;
            }
        });
    std::thread other{[&] {
        while (!waiting)
            std::this_thread::yield();
        hub.cancel_all();
    }};
    hub.run();
    other.join();
    CHECK(unwound == 3);
}

TEST_CASE("run inside of a fiber is refused") {
    testing::run([] {
        CHECK_THROWS_AS(coir::run([] {}), std::logic_error);
        CHECK_THROWS_AS(testing::run([] { return 1; }), std::logic_error);
        runtime hub;
        CHECK_THROWS_AS(hub.run(), std::logic_error);
        this_fiber::sleep_for(1s);
    });
    coir::run([] {});
}

TEST_CASE("two runtimes on two threads pass values back and forth") {
    channel<int> there;
    channel<int> back;
    std::thread other{[&] {
        coir::run([&] {
            for (int number : there)
                back.send(number * 2);
            back.close();
        });
    }};
    const int sum = coir::run([&] {
        int total = 0;
        for (int i = 0; i < 500; ++i) {
            there.send(i);
            total += *back.receive();
        }
        there.close();
        CHECK(!back.receive());
        return total;
    });
    other.join();
    CHECK(sum == 500 * 499);
}

TEST_CASE("runtimes come and go on many threads at once") {
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            for (int round = 0; round < 10; ++round)
                coir::run([&] {
                    fiber a{[&] { sum.fetch_add(1); }};
                    fiber b{[&] { this_fiber::sleep_for(1us); }};
                    a.join();
                    b.join();
                });
        });
    for (auto& each : threads)
        each.join();
    CHECK(sum == 80);
}

TEST_CASE("a handle may outlive its runtime") {
    fiber outlives;
    testing::run([&] {
        outlives = fiber{[] {}};
        this_fiber::yield();
    });
    CHECK(outlives.joinable());
    outlives.cancel();
    CHECK(!outlives.request_stop());
    outlives.join();
}

TEST_CASE("a failure is kept for a handle that outlives its runtime") {
    fiber outlives;
    testing::run([&] {
        outlives = fiber{[] { throw std::runtime_error{"late"}; }};
        this_fiber::yield();
    });
    CHECK_THROWS_WITH(outlives.join(), "late");
}

TEST_CASE("a plain thread may join a fiber of another thread's hub") {
    event ready;
    fiber remote;
    std::thread hub{[&] {
        coir::run([&] {
            remote = fiber{[] {
                this_fiber::sleep_for(1ms);
                throw std::runtime_error{"from afar"};
            }};
            ready.set();
            this_fiber::sleep_for(2ms);
        });
    }};
    ready.wait();
    CHECK_THROWS_WITH(remote.join(), "from afar");
    hub.join();
}

TEST_SUITE_END();
