// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace coir {

/// What a function returned or threw, on its way from where it was called to where that is wanted. Result may be void
/// or a reference. Not shared: whoever hands it over sees to the order. Never suspends itself.
///
///     outcome<int> result;
///     result.run([] { return parse(text); });
///     int number = result.take(); // or throws what parse threw
template <class Result> class outcome {
public:
    /// Calls `function` and keeps what comes of it.
    template <class Function> void run(Function&& function) noexcept
    {
        try {
            if constexpr (std::is_void_v<Result>)
                std::invoke(std::forward<Function>(function));
            else if constexpr (std::is_reference_v<Result>)
                keep(std::invoke(std::forward<Function>(function)));
            else
                value_.emplace(std::invoke(std::forward<Function>(function)));
        } catch (...) {
            failure_ = std::current_exception();
        }
    }

    bool failed() const noexcept { return failure_ != nullptr; }

    /// Once, after `run`.
    Result take()
    {
        if (failure_)
            std::rethrow_exception(std::move(failure_));
        if constexpr (std::is_reference_v<Result>)
            return static_cast<Result>(*value_);
        else if constexpr (!std::is_void_v<Result>)
            return std::move(*value_); // NOLINT(bugprone-unchecked-optional-access): run() has set one or the other
    }

private:
    template <class Referred> void keep(Referred&& referred) noexcept { value_ = std::addressof(referred); }

    struct nothing {};
    using value_type = std::conditional_t<
        std::is_void_v<Result>, nothing,
        std::conditional_t<std::is_reference_v<Result>, std::add_pointer_t<Result>, std::optional<Result>>>;

    [[no_unique_address]] value_type value_{};
    std::exception_ptr failure_;
};

} // namespace coir
