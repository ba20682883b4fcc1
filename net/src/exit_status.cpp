// SPDX-License-Identifier: BSL-1.0
#include <coir/net/exit_status.hpp>

#include "signal_name.hpp"

namespace coir::net {

std::string exit_status::describe() const
{
    if (exited())
        return "exit status " + std::to_string(code_);
    return signal_name(signal_) + (core_dumped_ ? " (core dumped)" : "");
}

} // namespace coir::net
