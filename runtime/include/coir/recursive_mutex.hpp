// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/mutex.hpp>

namespace coir {

/// A mutex whose owner may lock it again; it is free after as many calls of `unlock`. Otherwise as `mutex`.
///
///     std::scoped_lock outer{tree_mutex};
///     std::scoped_lock inner{tree_mutex};
class recursive_mutex : public mutex_base {
public:
    constexpr recursive_mutex() noexcept : mutex_base{reentry::counted} {}
};

/// A recursive_mutex that one can stop waiting for.
class recursive_timed_mutex : public mutex_base {
public:
    constexpr recursive_timed_mutex() noexcept : mutex_base{reentry::counted} {}
    using mutex_base::try_lock_for;
    using mutex_base::try_lock_until;
};

} // namespace coir
