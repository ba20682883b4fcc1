// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace coir {

/// Thrown out of a wait when the fiber has been cancelled. Let it pass: RAII does the cleaning.
///
/// Deliberately not a std::exception, so that `catch (const std::exception&)` does not swallow it. Cancellation is
/// level-triggered: once requested, every later wait of the fiber throws again, outside of a `shield`.
class cancelled {
public:
    virtual ~cancelled();
    virtual const char* what() const noexcept;
};

/// Thrown out of a wait that a surrounding `timeout` cut off (deadline.hpp).
class timed_out : public cancelled {
public:
    const char* what() const noexcept override;
};

} // namespace coir
