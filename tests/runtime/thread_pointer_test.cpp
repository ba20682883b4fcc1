// SPDX-License-Identifier: BSL-1.0
// A fiber with the thread-local storage of a thread. Not under the sanitizers, which keep a thread's state there.
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/mutex.hpp>
#include <coir/runtime.hpp>
#include <coir/thread_pointer.hpp>

#include <cerrno>
#include <exception>
#include <latch>
#include <list>
#include <pthread.h>
#include <stdexcept>
#include <thread>

using namespace coir;

namespace {

thread_local int value = 7;

[[gnu::noinline]] int& value_here()
{
    asm volatile("" ::: "memory");
    return value;
}

/// A thread that does nothing but lend what is its own.
class lender {
public:
    lender() { ready_.wait(); }
    ~lender()
    {
        done_.count_down();
        thread_.join();
    }
    void* pointer = nullptr;
    pthread_t id{};

private:
    std::latch ready_{1};
    std::latch done_{1};
    std::thread thread_{[this] {
        pointer = thread_pointer();
        id = ::pthread_self();
        ready_.count_down();
        done_.wait();
    }};
};

} // namespace

TEST_CASE("a fiber with a thread pointer of its own has thread_local variables, errno and exceptions of its own") {
    std::list<lender> lenders(5);
    run({.hubs = 1}, [&] {
        value_here() = 1;
        errno = 1;
        const auto ours = ::pthread_self();
        fiber_group group;
        int number = 10;
        for (auto& each : lenders)
            group.spawn([&each, number = ++number] {
                this_fiber::set_thread_pointer(each.pointer);
                CHECK(value_here() == 7);
                CHECK(::pthread_equal(::pthread_self(), each.id));
                value_here() = number;
                errno = number;
                for (int i = 0; i < 20; ++i) {
                    try {
                        throw std::runtime_error{"caught across a switch"};
                    } catch (const std::runtime_error&) {
                        this_fiber::yield();
                        CHECK(std::current_exception());
                    }
                    CHECK(!std::current_exception());
                    CHECK(value_here() == number);
                    CHECK(errno == number);
                }
                this_fiber::set_thread_pointer(nullptr);
            });
        // Others have what the hub's thread has, and its fibers start and end in between.
        for (int i = 0; i < 20; ++i) {
            fiber other{[&] {
                CHECK(value_here() == 1);
                CHECK(::pthread_equal(::pthread_self(), ours));
                this_fiber::yield();
                CHECK(value_here() == 1);
            }};
            this_fiber::yield();
            CHECK(errno == 1);
            CHECK(value_here() == 1);
        }
    });
    CHECK(value_here() == 1);
    value_here() = 7;
}

TEST_CASE("fibers with and without a thread pointer of their own share locks, and start each other") {
    std::list<lender> lenders(2);
    run({.hubs = 1}, [&] {
        mutex guard;
        int sum = 0;
        const auto add = [&] {
            for (int i = 0; i < 10; ++i) {
                const std::scoped_lock held{guard};
                const int before = sum;
                this_fiber::yield();
                sum = before + 1;
            }
        };
        fiber_group group;
        group.spawn(add);
        for (auto& each : lenders)
            group.spawn([&] {
                this_fiber::set_thread_pointer(each.pointer);
                {
                    fiber other{add};
                    add();
                    this_fiber::sleep_for(std::chrono::milliseconds{1});
                }
                this_fiber::set_thread_pointer(nullptr);
            });
        group.join();
        CHECK(sum == 50);
    });
}
