// SPDX-License-Identifier: BSL-1.0
#pragma once
// Every system call of a thread, trapped: Syscall User Dispatch (Linux 5.11, prctl(2)) turns each that does not come
// from libcoir's own code into a SIGSYS, whose handler makes it in its place and times it. Those by which a fiber has
// had the thread wait are recorded for the audit's thread to tell of. The hub's loop is let alone. Start reading at
// `on_trap`.
#include "blocked_call.hpp"
#include "sigsys.hpp"

#include <coir/fiber.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace coir {

/// A call that has kept the thread waiting, with all that can be learnt of it only while it is on the stack.
struct trapped_call {
    std::uint64_t serial = 0;
    blocked_call call;
    std::chrono::nanoseconds time{};
    fiber_id fiber{};
    std::array<char, 32> fiber_name{};
    call_descriptors descriptors;
    stack_words stack;
};

class syscall_trap {
public:
    /// Why calls cannot be trapped in this process; null if they can.
    static const char* obstacle() noexcept;

    /// `bell` is rung, as a futex, for each record. Calls are trapped while `selector` is 1, and let through while it
    /// is 0.
    syscall_trap(std::chrono::nanoseconds limit, std::atomic<int>& bell, const std::atomic<unsigned char>& selector);

    /// On the hub's thread. After a fork again: the child's thread is not trapped (nor is that of vfork, or a new one).
    bool arm() noexcept;
    void disarm() noexcept;

    // For the audit's thread.
    /// The call that goes on now, if there is one that is timed; `serial` is its own.
    struct in_flight {
        std::uint64_t serial = 0;
        blocked_call call;
        const fiber_state* fiber = nullptr;
    };
    std::optional<in_flight> current() const noexcept;
    /// The oldest record that has not been taken; null if there is none.
    std::unique_ptr<trapped_call> take();
    /// How many had no room.
    std::size_t take_lost() noexcept { return lost_.exchange(0, std::memory_order_relaxed); }
    void discard_records() noexcept;

    /// Makes the call that was trapped; for the handler.
    long make(const blocked_call& call) noexcept;
    sigsys signal; ///< on this thread; for the handler

private:
    void record(const blocked_call& call, std::uint64_t serial, std::chrono::nanoseconds time) noexcept;

    const std::chrono::nanoseconds limit_;
    std::atomic<int>& bell_;
    const std::atomic<unsigned char>& selector_;

    std::atomic<std::uint64_t> serial_{0}; ///< of the timed call that goes on, which is odd
    std::atomic<std::uint64_t> next_serial_{1};
    in_flight current_;

    // A ring. The hub's thread reserves, fills and publishes; a signal handler may do so in the middle of that.
    struct slot {
        std::atomic<bool> filled{false};
        trapped_call call;
    };
    static constexpr std::size_t slots = 256;
    const std::unique_ptr<slot[]> ring_;
    std::atomic<std::size_t> reserved_{0};
    std::atomic<std::size_t> taken_{0};
    std::atomic<std::size_t> lost_{0};
};

} // namespace coir
