// SPDX-License-Identifier: BSL-1.0
#include "parking_lot.hpp"

#include <pthread.h>

#include <memory>

namespace coir::parking_lot {

namespace {
constexpr std::size_t bucket_bits = 8;
constinit bucket buckets[1 << bucket_bits];

/// In a forked child nobody waits, and whoever held a lock is not there any more.
[[gnu::constructor]] void watch_forks() noexcept
{
    ::pthread_atfork(nullptr, nullptr, [] {
        for (auto& each : buckets)
            std::construct_at(&each);
        parked_total.store(0, std::memory_order_relaxed);
    });
}

} // namespace

bucket& bucket_of(const void* address) noexcept
{
    // Multiplicative hashing (Knuth, The Art of Computer Programming 3, 6.4): the upper bits depend on all of the
    // address.
    const auto product = reinterpret_cast<std::uintptr_t>(address) * std::uint64_t{0x9e3779b97f4a7c15};
    return buckets[product >> (64 - bucket_bits)];
}

std::size_t unpark(const void* address, std::size_t most, std::uint32_t bits) noexcept
{
    if (!anyone())
        return 0;
    if (in_handler() && unpark_later(address)) [[unlikely]]
        return 0;
    auto& there = bucket_of(address);
    if (there.waiters.load(std::memory_order_relaxed) == 0)
        return 0;
    wait_queue::guard held{there.guard};
    return there.queue.notify_if(
        held,
        [&](const waiter& member) {
            const auto& candidate = static_cast<const parked&>(member);
            return candidate.address == address && (candidate.bits & bits);
        },
        most);
}

void unpark_all() noexcept
{
    for (auto& each : buckets) {
        wait_queue::guard held{each.guard};
        each.queue.notify_all(held);
    }
}

} // namespace coir::parking_lot
