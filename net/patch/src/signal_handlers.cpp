// SPDX-License-Identifier: BSL-1.0
#include "signal_handlers.hpp"

#include "parking_lot.hpp"

#include <coir/fiber.hpp>

#include <pthread.h>

#include <array>
#include <limits>
#include <utility>

namespace coir {

constinit thread_local running_handler* running_handler::innermost = nullptr;

running_handler::running_handler() noexcept
    : fiber{std::exchange(current_fiber, nullptr)}, outer{std::exchange(innermost, this)}
{
}

running_handler::~running_handler()
{
    innermost = outer;
    current_fiber = fiber;
}

void running_handler::leave_all() noexcept
{
    while (innermost)
        innermost->~running_handler();
}

namespace {

/// A few places that a handler can fill without a lock, and that a hub empties. Handlers may interrupt each other.
template <class Item, std::size_t Count> class mailbox {
public:
    bool put(const Item& item) noexcept
    {
        for (auto& place : places_) {
            auto expected = state::empty;
            if (!place.is.compare_exchange_strong(expected, state::busy, std::memory_order_acquire))
                continue;
            place.item = item;
            place.is.store(state::full, std::memory_order_release);
            return true;
        }
        return false;
    }

    template <class Take> void take_all(Take&& take) noexcept
    {
        for (auto& place : places_) {
            auto expected = state::full;
            if (!place.is.compare_exchange_strong(expected, state::busy, std::memory_order_acquire))
                continue;
            const Item item = place.item;
            place.is.store(state::empty, std::memory_order_release);
            take(item);
        }
    }

private:
    enum class state : std::uint8_t { empty, busy, full };
    struct place {
        std::atomic<state> is{state::empty};
        Item item{};
    };
    std::array<place, Count> places_{};
};

struct ended_wait {
    signal_wait whom;
    std::uint64_t number = 0;
};

constinit mailbox<const void*, 64> to_unpark;
constinit mailbox<ended_wait, 16> ended_waits;
constinit std::atomic<bool> more_to_unpark{false};

signal_wait heeding;
constinit bool threads_are_cancelled = false;
[[gnu::tls_model("initial-exec")]] constinit thread_local const signal_wait* meant = nullptr;

/// In the loop of each hub that listens.
void receive() noexcept
{
    to_unpark.take_all([](const void* address) { parking_lot::unpark(address, 1); });
    if (more_to_unpark.exchange(false, std::memory_order_acq_rel))
        parking_lot::unpark_all();
    ended_waits.take_all([](const ended_wait& wait) {
        if (wait.whom.is_here())
            wait.whom.end(wait.number);
        else
            ended_waits.put(wait); // for that hub, which has been told too
    });
}

[[gnu::constructor]] void listen() noexcept
{
    net::receive_news(receive);
}

} // namespace

bool unpark_later(const void* address) noexcept
{
    if (!to_unpark.put(address))
        more_to_unpark.store(true, std::memory_order_release);
    return net::post_news();
}

void heed_signals() noexcept
{
    heeding = signal_wait::of_this_fiber();
}

bool signals_are_heeded() noexcept
{
    return !(heeding == signal_wait{});
}

void let_threads_be_cancelled() noexcept
{
    threads_are_cancelled = true;
}

bool threads_may_be_cancelled() noexcept
{
    return threads_are_cancelled;
}

signal_for::signal_for(const signal_wait& whom) noexcept : before_{std::exchange(meant, &whom)} {}

signal_for::~signal_for()
{
    meant = before_;
}

void note_handled(bool restarts) noexcept
{
    const auto& whom = meant ? *meant : heeding;
    if (const auto number = whom.ended_by_handler(restarts))
        if (ended_waits.put({whom, number}))
            net::post_news();
}

} // namespace coir
