// SPDX-License-Identifier: BSL-1.0
#pragma once
// For our tests and for users': fibers in virtual time. Nothing sleeps, so a test of an hour takes no time and does not
// depend on the machine.
#include <coir/driver.hpp>
#include <coir/runtime.hpp>
#include <coir/wait_queue.hpp>

#include <atomic>
#include <cstdint>
#include <stdexcept>

namespace coir {

/// Every fiber waits and nothing can wake one. `what()` lists the fibers and what each waits for.
class deadlock : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

namespace testing {

/// Time that jumps to the next deadline when every fiber waits.
class virtual_driver final : public driver {
public:
    clock::time_point now() noexcept override { return now_; }
    void poll() override {}
    bool wait(clock::time_point deadline, bool outside_work) override;
    void wake() noexcept override;

private:
    clock::time_point now_{std::chrono::hours{1}};
    std::atomic<std::uint32_t> woken_{0};
};

/// coir::run in virtual time. Throws `deadlock` when every fiber waits for ever.
template <class Main> std::invoke_result_t<Main&> run(Main&& main)
{
    runtime hub{std::make_unique<virtual_driver>()};
    return run_in(hub, std::forward<Main>(main));
}

/// Who runs next, for tests that try many orders: of the fibers that are ready any may be next, and the seed decides.
/// And, once in the run, a cancellation at a place that a test can go through one by one.
///
///     coir::testing::schedule plan{.seed = 42};
///     coir::testing::run(plan, [] { ... });
struct schedule {
    std::uint64_t seed = 0;
    /// The wait that is cancelled as soon as it has begun: the n-th, from 1, of those that may be cancelled. 0: none.
    std::uint64_t cancel_wait = 0;
    /// Counts the waits that have begun and may be cancelled, but not those of main.
    std::uint64_t waits = 0;
};

template <class Main> std::invoke_result_t<Main&> run(schedule& plan, Main&& main)
{
    runtime hub{std::make_unique<virtual_driver>(), &plan};
    return run_in(hub, std::forward<Main>(main));
}

/// Runs `main` in one order again and again, each time with another wait cancelled, until each has been. Returns how
/// many there were.
///
///     coir::testing::cancel_each_wait(seed, [] { ... CHECK(nothing_was_lost()); });
template <class Main> std::uint64_t cancel_each_wait(std::uint64_t seed, Main&& main)
{
    for (std::uint64_t nth = 1;; ++nth) {
        schedule plan{.seed = seed, .cancel_wait = nth};
        run(plan, main);
        if (plan.waits < nth)
            return plan.waits;
    }
}

/// Fixes an order between fibers: `at(n)` suspends until steps 0 to n-1 have been passed.
///
///     sequencer order;
///     coir::fiber a{[&] { order.at(1); ... }};
///     coir::fiber b{[&] { order.at(0); ... }};
class sequencer {
public:
    void at(int step);

private:
    spin_lock guard_;
    wait_queue waiters_;
    int next_ = 0;
};

} // namespace testing
} // namespace coir
