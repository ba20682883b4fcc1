// SPDX-License-Identifier: BSL-1.0
#include <coir/net/error.hpp>

namespace coir::net {

void throw_error(const error_code& code, const char* operation)
{
    throw std::system_error{static_cast<std::error_code>(code), operation};
}

} // namespace coir::net
