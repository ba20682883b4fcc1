// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace coir {

/// One of the things that a `select` (select.hpp) waits for. Derive from it to make a thing of your own selectable.
///
/// A select locks the guards of all its cases at once, in the order of their addresses, and asks each, beginning
/// anywhere, whether it can be done now. If none can, it puts a place for each in its queue, unlocks, and parks once:
///
///     stack of who selects                      what it waits for, each with its guard
///     parking <--- place of case 0 ------------ wait_queue of a channel
///             <--- place of case 1 ------------ wait_queue of an event
///
/// Whoever notifies one of the places first has claimed the parking, and that case is the chosen one. All others have
/// not happened: their places leave the queues, and a notifier that meets one before that passes it over. Two selects
/// cannot wait for each other's locks because of the order, nor miss each other because each looks and queues under
/// the locks.
class select_case {
public:
    select_case(const select_case&) = delete;
    select_case& operator=(const select_case&) = delete;
    virtual ~select_case() = default;

protected:
    /// What `guard` guards is waited for in `queue`. The case must name its place in there: `stand_at`.
    select_case(spin_lock& guard, wait_queue& queue) noexcept : guard_{&guard}, queue_{&queue} {}
    /// A case that becomes ready as time passes.
    explicit select_case(clock::time_point deadline) noexcept : deadline_{deadline} {}

    void stand_at(waiter& place) noexcept { place_ = &place; }

    enum class progress : std::uint8_t {
        none,  ///< it cannot be done now
        done,  ///< it has been done
        again, ///< release the locks, `prepare` and ask again
    };

    /// When it is the chosen one, with no lock held: by now, what `try_now` or a notifier did has happened. May suspend
    /// and throw.
    virtual void finish() {}

private:
    friend class selection;

    /// Before the locks are taken. May allocate, must not suspend.
    virtual void prepare() {}
    /// Under all the locks: does it now, if that can be done. Whom it wakes goes to `woken`.
    virtual progress try_now(const wait_queue::guard& held, wake_list& woken) noexcept = 0;
    spin_lock* guard_ = nullptr;
    wait_queue* queue_ = nullptr;
    waiter* place_ = nullptr;
    clock::time_point deadline_ = never;
};

/// No case: the time ran out, or none can be done now.
inline constexpr std::size_t no_case = static_cast<std::size_t>(-1);

/// What every form of select comes to. Suspends until one of the cases has been done, and returns its index; `no_case`
/// when the deadline has passed. Throws `cancelled`, `timed_out`, and what the case's `finish` throws.
/// `scratch` is as large as `cases`; what it contains does not matter.
std::size_t select_among(std::span<select_case* const> cases, std::span<select_case*> scratch,
                         clock::time_point deadline = never);
/// The same without suspending: `no_case` if none can be done now.
std::size_t select_now(std::span<select_case* const> cases, std::span<select_case*> scratch);

} // namespace coir
