// SPDX-License-Identifier: BSL-1.0
#pragma once
// Where the same test bodies run, so that "as in std" is checked against std itself:
//
//     std_world      std's types on std's threads: shows that a test asks for what the standard promises
//     fiber_world    coir's types in fibers of one hub, in virtual time
//     hub_world      coir's types in fibers, each `thread` a hub on a thread of its own
//     thread_world   coir's types on std's threads, without any fiber
//
//     TEST_CASE_TEMPLATE("a sentence [the.clause]", World, COIR_WORLDS) {
//         World::run([] {
//             typename World::mutex door;
//             typename World::thread other{[&] { ... }};
//             other.join();
//         });
//     }
//
// A test may state only what the standard guarantees: what has not happened may be checked at any time
// (after `World::let_others_run()`, which makes a violation likely to show), what has happened only after a join or
// whatever else orders it. Outside of the main thread use CHECK, not REQUIRE, which throws.
#include <coir/async.hpp>
#include <coir/barrier.hpp>
#include <coir/condition_variable.hpp>
#include <coir/condition_variable_any.hpp>
#include <coir/fiber.hpp>
#include <coir/latch.hpp>
#include <coir/mutex.hpp>
#include <coir/once.hpp>
#include <coir/packaged_task.hpp>
#include <coir/promise.hpp>
#include <coir/recursive_mutex.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>
#include <coir/shared_mutex.hpp>
#include <coir/testing.hpp>

#include <barrier>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>

namespace conformance {

// ---- the types ------------------------------------------------------------------------------------------------------

struct std_types {
    using mutex = std::mutex;
    using timed_mutex = std::timed_mutex;
    using recursive_mutex = std::recursive_mutex;
    using recursive_timed_mutex = std::recursive_timed_mutex;
    using shared_mutex = std::shared_mutex;
    using shared_timed_mutex = std::shared_timed_mutex;
    using condition_variable = std::condition_variable;
    using condition_variable_any = std::condition_variable_any;
    template <std::ptrdiff_t Max> using counting_semaphore = std::counting_semaphore<Max>;
    using binary_semaphore = std::binary_semaphore;
    using latch = std::latch;
    template <class... Completion> using barrier = std::barrier<Completion...>;
    using once_flag = std::once_flag;
    template <class... Args> static void call_once(once_flag& flag, Args&&... args)
    {
        std::call_once(flag, std::forward<Args>(args)...);
    }
    template <class T> using promise = std::promise<T>;
    template <class T> using future = std::future<T>;
    template <class T> using shared_future = std::shared_future<T>;
    template <class Signature> using packaged_task = std::packaged_task<Signature>;
    template <class... Args> static auto async(Args&&... args) { return std::async(std::forward<Args>(args)...); }
};

struct coir_types {
    using mutex = coir::mutex;
    using timed_mutex = coir::timed_mutex;
    using recursive_mutex = coir::recursive_mutex;
    using recursive_timed_mutex = coir::recursive_timed_mutex;
    using shared_mutex = coir::shared_mutex;
    using shared_timed_mutex = coir::shared_timed_mutex;
    using condition_variable = coir::condition_variable;
    using condition_variable_any = coir::condition_variable_any;
    template <std::ptrdiff_t Max> using counting_semaphore = coir::counting_semaphore<Max>;
    using binary_semaphore = coir::binary_semaphore;
    using latch = coir::latch;
    template <class... Completion> using barrier = coir::barrier<Completion...>;
    using once_flag = coir::once_flag;
    template <class... Args> static void call_once(once_flag& flag, Args&&... args)
    {
        coir::call_once(flag, std::forward<Args>(args)...);
    }
    template <class T> using promise = coir::promise<T>;
    template <class T> using future = coir::future<T>;
    template <class T> using shared_future = coir::shared_future<T>;
    template <class Signature> using packaged_task = coir::packaged_task<Signature>;
    template <class... Args> static auto async(Args&&... args) { return coir::async(std::forward<Args>(args)...); }
};

// ---- what runs them -------------------------------------------------------------------------------------------------

struct on_threads {
    using thread = std::jthread;

    template <class Body> static void run(Body&& body) { body(); }
    static void yield() { std::this_thread::yield(); }
    static void let_others_run()
    {
        for (int i = 0; i < 20; ++i)
            std::this_thread::yield();
    }
};

struct in_fibers {
    using thread = coir::fiber;

    template <class Body> static void run(Body&& body) { coir::testing::run(std::forward<Body>(body)); }
    static void yield() { coir::this_fiber::yield(); }
    static void let_others_run()
    {
        for (int i = 0; i < 20; ++i)
            coir::this_fiber::yield();
    }
};

struct on_hubs : on_threads {
    /// A std::jthread which is a hub and calls its function in a fiber.
    class thread : public std::jthread {
    public:
        template <class Function, class... Args>
            requires(!std::is_same_v<std::remove_cvref_t<Function>, thread>)
        explicit thread(Function&& function, Args&&... args)
            : std::jthread{[]<class F, class... A>(std::stop_token token, F callable, A... rest) {
                               coir::run([&] {
                                   if constexpr (std::is_invocable_v<F, std::stop_token, A...>)
                                       std::invoke(std::move(callable), std::move(token), std::move(rest)...);
                                   else
                                       std::invoke(std::move(callable), std::move(rest)...);
                               });
                           },
                           std::forward<Function>(function), std::forward<Args>(args)...}
        {
        }
    };

    template <class Body> static void run(Body&& body) { coir::run(std::forward<Body>(body)); }
};

// ---- the worlds -----------------------------------------------------------------------------------------------------

struct std_world : std_types, on_threads {};
struct fiber_world : coir_types, in_fibers {};
struct hub_world : coir_types, on_hubs {};
struct thread_world : coir_types, on_threads {};

#define COIR_WORLDS conformance::std_world, conformance::fiber_world, conformance::hub_world, conformance::thread_world

} // namespace conformance
