// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber_group.hpp>
#include <coir/semaphore.hpp>

#include <atomic>
#include <cstddef>
#include <utility>

namespace coir {

/// A fiber_group that runs no more than so many fibers at a time: who spawns one too many waits until one has ended.
///
///     coir::fiber_pool workers{10};
///     for (std::string url; read_line(url);)
///         workers.spawn([url] { fetch(url); });
///     workers.join();
///
/// As with a group, the first failure cancels the others and is rethrown by `join`, which belongs behind every loop
/// that spawns. Lives on the stack of the fiber that joins it. A fiber of the pool may spawn into it, but if all of
/// them wait for room there will never be any.
class fiber_pool {
public:
    /// Throws std::invalid_argument for a pool without room.
    explicit fiber_pool(std::size_t concurrency);
    fiber_pool(const fiber_pool&) = delete;
    fiber_pool& operator=(const fiber_pool&) = delete;
    /// As a fiber_group's.
    ~fiber_pool() = default;

    /// Suspends while the pool is full. False, with nothing started, once a fiber has failed or the pool has been
    /// cancelled: time to join. Throws as the constructor of `fiber` does, `cancelled`, `timed_out`.
    template <class Function, class... Args>
    bool spawn(const fiber_options& options, Function&& function, Args&&... args)
    {
        room_.acquire();
        return start(options, bind_fiber(std::forward<Function>(function), std::forward<Args>(args)...));
    }
    template <class Function, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber_options>)
    bool spawn(Function&& function, Args&&... args)
    {
        return spawn(fiber_options{}, std::forward<Function>(function), std::forward<Args>(args)...);
    }

    /// The same, but false instead of waiting for room. Never suspends.
    template <class Function, class... Args>
    bool try_spawn(const fiber_options& options, Function&& function, Args&&... args)
    {
        return room_.try_acquire() &&
               start(options, bind_fiber(std::forward<Function>(function), std::forward<Args>(args)...));
    }
    template <class Function, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber_options>)
    bool try_spawn(Function&& function, Args&&... args)
    {
        return try_spawn(fiber_options{}, std::forward<Function>(function), std::forward<Args>(args)...);
    }

    /// Suspends until every fiber has ended, then rethrows the first failure. As fiber_group::join.
    void join() { fibers_.join(); }
    /// Cancels every fiber in the pool; no more are started. Never suspends. Any thread.
    void cancel() noexcept;

    std::size_t size() const noexcept { return fibers_.size(); }

private:
    /// Room that has been acquired, until it is given back.
    class place {
    public:
        explicit place(fiber_pool& pool) noexcept : pool_{&pool} {}
        place(place&& other) noexcept : pool_{std::exchange(other.pool_, nullptr)} {}
        place(const place&) = delete;
        place& operator=(const place&) = delete;
        ~place()
        {
            if (pool_)
                pool_->room_.release();
        }

    private:
        fiber_pool* pool_;
    };

    template <class Callable> bool start(const fiber_options& options, Callable&& callable)
    {
        place taken{*this};
        if (closed_.load(std::memory_order_relaxed))
            return false;
        fibers_.spawn(options, [this, taken = std::move(taken), work = std::forward<Callable>(callable)]() mutable {
            const place until_the_end{std::move(taken)};
            try {
                work();
            } catch (...) {
                note_failure();
                throw;
            }
        });
        return true;
    }
    /// In a handler.
    void note_failure() noexcept;

    counting_semaphore<> room_;
    std::atomic<bool> closed_{false};
    fiber_group fibers_; ///< the last member: its destructor waits for those who use the others
};

} // namespace coir
