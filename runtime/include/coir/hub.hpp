// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace coir {

class scheduler;

/// One thread of a runtime and the fibers that live on it: for who wants to say where something runs.
///
/// A view, valid while the runtime is. Fibers of one hub never run at the same time, so what only they touch needs no
/// lock.
///
///     coir::hub home = coir::this_hub();
///     std::thread worker{[home] { home.post([] { ... }); }};   // runs among the fibers of `home`
class hub {
public:
    /// Starts a detached fiber there. Any thread. Never suspends. Throws std::system_error when no stack can be had,
    /// and with std::errc::operation_canceled when the runtime shuts down.
    template <class Function, class... Args>
    void post(const fiber_options& options, Function&& function, Args&&... args) const
    {
        auto callable = bind_fiber(std::forward<Function>(function), std::forward<Args>(args)...);
        post_entry(options, fiber_entry::of<decltype(callable)>(), &callable);
    }
    template <class Function, class... Args>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, fiber_options>)
    void post(Function&& function, Args&&... args) const
    {
        post(fiber_options{}, std::forward<Function>(function), std::forward<Args>(args)...);
    }

    /// Its number in the runtime, from 0.
    std::size_t index() const noexcept;

    friend bool operator==(const hub&, const hub&) = default;

private:
    friend class runtime;
    friend class executor;
    friend hub this_hub();
    explicit hub(scheduler& which) noexcept : scheduler_{&which} {}
    void post_entry(const fiber_options& options, const fiber_entry& entry, void* callable) const;

    scheduler* scheduler_;
};

/// The hub that the caller runs on. Throws std::logic_error where there is none.
hub this_hub();

} // namespace coir
