// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include <coir/select.hpp>

#include <algorithm>
#include <functional>
#include <system_error>

namespace coir {

namespace {

/// Where to begin to look, so that no case is preferred. A random choice, because a rotating one falls into step with
/// selects that alternate.
std::size_t random_below(std::size_t limit) noexcept
{
    constinit thread_local std::uint32_t state = 2463534242; // Marsaglia's xorshift
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % limit;
}

/// As proof that the lock is held.
class held_guard {
public:
    explicit held_guard(spin_lock& lock) noexcept : guard_{lock, std::adopt_lock} {}
    held_guard(const held_guard&) = delete;
    held_guard& operator=(const held_guard&) = delete;
    ~held_guard() { guard_.release(); }
    operator const wait_queue::guard&() const noexcept { return guard_; } // NOLINT(google-explicit-constructor)

private:
    wait_queue::guard guard_;
};

} // namespace

/// One select, from its first look to its end.
class selection {
public:
    selection(std::span<select_case* const> cases, std::span<select_case*> scratch) noexcept
        : cases_{cases}, by_guard_{scratch.first(cases.size())}
    {
        std::copy(cases.begin(), cases.end(), by_guard_.begin());
        std::sort(by_guard_.begin(), by_guard_.end(),
                  [](auto* left, auto* right) { return std::less<>{}(left->guard_, right->guard_); });
    }

    /// With the locks released if a case has been done, and held otherwise.
    std::size_t look()
    {
        if (cases_.empty())
            return no_case;
        const auto start = random_below(cases_.size());
        for (;;) {
            for (auto* each : cases_)
                each->prepare();
            lock_all();
            bool again = false;
            for (std::size_t i = 0; i < cases_.size(); ++i) {
                const auto index = (start + i) % cases_.size();
                wake_list woken;
                const auto progress = try_now(*cases_[index], woken);
                if (progress == select_case::progress::done) {
                    unlock_all();
                    woken.wake();
                    return index;
                }
                again = again || progress == select_case::progress::again;
            }
            if (!again)
                return no_case;
            unlock_all();
        }
    }

    /// With the locks held, which it releases.
    std::size_t wait(clock::time_point deadline)
    {
        parking self;
        const select_case* first_timer = nullptr;
        for (auto* each : cases_) {
            if (each->guard_) {
                each->place_->belong_to(self);
                each->queue_->push(held_guard{*each->guard_}, *each->place_);
            } else if (each->deadline_ < deadline) {
                deadline = each->deadline_;
                first_timer = each;
            }
        }
        unlock_all();

        const auto cause = self.park({.reason = {"select"}, .deadline = deadline});
        std::size_t chosen = no_case;
        for (std::size_t i = 0; i < cases_.size(); ++i) {
            auto* const each = cases_[i];
            const bool mine =
                each->guard_ ? each->place_ == self.taken() : each == first_timer && cause == wake_cause::timed_out;
            if (mine) {
                chosen = i; // what it waited for may be gone by now
            } else if (each->guard_) {
                const wait_queue::guard held{*each->guard_};
                each->queue_->remove(held, *each->place_);
            }
        }
        throw_if_interrupted(cause);
        return chosen;
    }

    void finish(std::size_t chosen)
    {
        if (chosen != no_case)
            cases_[chosen]->finish();
    }

    void unlock_all() noexcept
    {
        for_each_guard([](spin_lock& lock) { lock.unlock(); });
    }

private:
    void lock_all() noexcept
    {
        for_each_guard([](spin_lock& lock) { lock.lock(); });
    }
    /// Each guard once, in the order of their addresses.
    void for_each_guard(auto&& function) noexcept
    {
        spin_lock* previous = nullptr;
        for (auto* each : by_guard_)
            if (auto* const lock = each->guard_; lock != previous)
                function(*(previous = lock));
    }

    static select_case::progress try_now(select_case& which, wake_list& woken) noexcept
    {
        if (which.guard_)
            return which.try_now(held_guard{*which.guard_}, woken);
        return which.deadline_ != never && which.deadline_ <= clock::now() ? select_case::progress::done
                                                                           : select_case::progress::none;
    }

    std::span<select_case* const> cases_;
    std::span<select_case*> by_guard_;
};

std::size_t select_among(std::span<select_case* const> cases, std::span<select_case*> scratch,
                         clock::time_point deadline)
{
    selection all{cases, scratch};
    auto chosen = all.look();
    if (chosen == no_case)
        chosen = all.wait(deadline);
    all.finish(chosen);
    return chosen;
}

std::size_t select_now(std::span<select_case* const> cases, std::span<select_case*> scratch)
{
    selection all{cases, scratch};
    const auto chosen = all.look();
    if (chosen == no_case)
        all.unlock_all();
    all.finish(chosen);
    return chosen;
}

// ---- what can be selected -------------------------------------------------------------------------------------------

select_case::progress timer_case::try_now(const wait_queue::guard&, wake_list&) noexcept
{
    return progress::none;
}

event_case::event_case(event& awaited) noexcept : select_case{awaited.guard_, awaited.waiters_}, awaited_{&awaited}
{
    stand_at(place_);
}

select_case::progress event_case::try_now(const wait_queue::guard&, wake_list&) noexcept
{
    return awaited_->is_set() ? progress::done : progress::none;
}

auto_reset_event_case::auto_reset_event_case(auto_reset_event& awaited) noexcept
    : select_case{awaited.guard_, awaited.waiters_}, awaited_{&awaited}
{
    stand_at(place_);
}

select_case::progress auto_reset_event_case::try_now(const wait_queue::guard&, wake_list&) noexcept
{
    return std::exchange(awaited_->set_, false) ? progress::done : progress::none;
}

acquire_case::acquire_case(semaphore_base& from) noexcept : select_case{from.guard_, from.waiters_}, from_{&from}
{
    stand_at(place_);
}

select_case::progress acquire_case::try_now(const wait_queue::guard&, wake_list&) noexcept
{
    if (from_->count_ == 0)
        return progress::none;
    --from_->count_;
    return progress::done;
}

ready_case::ready_case(future_state_base& state) noexcept : select_case{state.guard_, state.waiters_}, state_{&state}
{
    stand_at(place_);
}

select_case::progress ready_case::try_now(const wait_queue::guard&, wake_list&) noexcept
{
    return state_->ready_ || state_->deferred_ ? progress::done : progress::none;
}

namespace {

fiber_state& joinable(fiber_state* state)
{
    if (!state)
        throw std::system_error{std::make_error_code(std::errc::invalid_argument), "coir::select: not a fiber"};
    return *state;
}

} // namespace

ended_case::ended_case(const fiber& awaited) : ended_case{joinable(awaited.state_)} {}

ended_case::ended_case(fiber_state& awaited) noexcept
    : select_case{awaited.join_guard, awaited.joiners}, awaited_{&awaited}
{
    stand_at(place_);
}

select_case::progress ended_case::try_now(const wait_queue::guard&, wake_list&) noexcept
{
    return awaited_->watch() ? progress::none : progress::done;
}

} // namespace coir
