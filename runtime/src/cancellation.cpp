// SPDX-License-Identifier: BSL-1.0
#include <coir/cancellation.hpp>

namespace coir {

cancelled::~cancelled() = default;

const char* cancelled::what() const noexcept
{
    return "coir::cancelled: the fiber was cancelled";
}

const char* timed_out::what() const noexcept
{
    return "coir::timed_out: a surrounding coir::timeout ran out";
}

} // namespace coir
