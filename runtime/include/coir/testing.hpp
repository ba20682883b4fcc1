// SPDX-License-Identifier: BSL-1.0
#pragma once
// For our tests and for users': fibers in virtual time. Nothing sleeps, so a test of an hour takes no time and does not
// depend on the machine.
#include <coir/driver.hpp>
#include <coir/runtime.hpp>
#include <coir/wait_queue.hpp>

#include <atomic>
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
