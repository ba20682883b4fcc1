// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <cstring>
#include <string>

namespace coir::net {

/// "SIGTERM"; "signal 40" where it has no name.
inline std::string signal_name(int signal)
{
    const char* const name = ::sigabbrev_np(signal);
    return name ? std::string{"SIG"} + name : "signal " + std::to_string(signal);
}

} // namespace coir::net
