// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber.hpp>
#include <coir/promise.hpp>
#include <coir/wait_queue.hpp>

#include <exception>

namespace coir {

/// A scope whose fibers end before it does. The first failure cancels the siblings and is rethrown by `join`.
///
///     coir::fiber_group fetches;
///     for (auto& url : urls)
///         fetches.spawn([&] { fetch(url); });
///     fetches.join();
///
/// Lives on the stack of the fiber that joins it. `spawn` from any fiber; `cancel` from any thread.
class fiber_group {
public:
    fiber_group() = default;
    fiber_group(const fiber_group&) = delete;
    fiber_group& operator=(const fiber_group&) = delete;
    /// Suspends until every fiber has ended; cancels them first if it runs because of an exception.
    /// A failure that `join` has not reported terminates.
    ~fiber_group();

    /// Does not suspend. Throws as the constructor of `fiber` does.
    template <class Function, class... Args>
    void spawn(const fiber_options& options, Function&& function, Args&&... args)
    {
        auto callable = bind_fiber(std::forward<Function>(function), std::forward<Args>(args)...);
        start_member(options, fiber_entry::of<decltype(callable)>(), &callable);
    }
    template <class Function, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber_options>)
    void spawn(Function&& function, Args&&... args)
    {
        spawn(fiber_options{}, std::forward<Function>(function), std::forward<Args>(args)...);
    }

    /// As `spawn`, and gives a future of what the function returns. Both see a failure: the future throws it, and it
    /// ends the group as that of any other fiber does, so that it cannot be forgotten in a future nobody asks. A fiber
    /// that is cancelled breaks its promise.
    template <class Function, class... Args>
    auto async(const fiber_options& options, Function&& function, Args&&... args)
    {
        using result = std::invoke_result_t<std::decay_t<Function>, std::decay_t<Args>...>;
        promise<result> answer;
        auto asked = answer.get_future();
        spawn(options, [answer = std::move(answer),
                        bound = std::tuple<std::decay_t<Function>, std::decay_t<Args>...>(
                            std::forward<Function>(function), std::forward<Args>(args)...)]() mutable {
            const auto call = [&]() -> result {
                return std::apply([](auto&&... parts) -> result { return std::invoke(std::move(parts)...); },
                                  std::move(bound));
            };
            try {
                if constexpr (std::is_void_v<result>) {
                    call();
                    answer.set_value();
                } else {
                    answer.set_value(call());
                }
            } catch (const timed_out&) {
                answer.set_exception(std::current_exception());
                throw;
            } catch (const cancelled&) {
                throw;
            } catch (...) {
                answer.set_exception(std::current_exception());
                throw;
            }
        });
        return asked;
    }
    template <class Function, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber_options>)
    auto async(Function&& function, Args&&... args)
    {
        return async(fiber_options{}, std::forward<Function>(function), std::forward<Args>(args)...);
    }

    /// Suspends until every fiber has ended, then rethrows the first failure. If the caller is cancelled meanwhile, the
    /// fibers are too, and `cancelled` is thrown once they have ended.
    void join();

    /// Cancels every fiber in the group, and those added later. Never suspends.
    void cancel() noexcept;

    std::size_t size() const noexcept
    {
        const std::lock_guard held{lock_};
        return size_;
    }

private:
    friend class fiber_state;
    friend class scheduler;
    void start_member(const fiber_options& options, const fiber_entry& entry, void* callable);
    void add(fiber_state& member) noexcept;
    void append(fiber_state& member) noexcept;
    void unlink(fiber_state& member) noexcept;
    void vanished(fiber_state& member) noexcept;
    void ended(fiber_state& member, std::exception_ptr failure) noexcept;
    wake_cause wait_until_empty(bool interruptible) noexcept;

    mutable spin_lock lock_; ///< for all that follows
    wait_queue joiners_;
    fiber_state* first_ = nullptr; ///< those that have not been cancelled come before those that have
    fiber_state* last_ = nullptr;
    std::size_t size_ = 0;
    std::exception_ptr failure_;
    bool cancelled_ = false;
};

} // namespace coir
