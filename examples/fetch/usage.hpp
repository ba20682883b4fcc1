// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

/// What a run cost.
struct usage {
    double wall_s = 0;
    double cpu_s = 0;                  ///< user and system
    std::size_t context_switches = 0;  ///< voluntary and not
    std::size_t peak_memory_kib = 0;   ///< resident
    std::size_t address_space_kib = 0; ///< reserved at most, used or not
    std::size_t threads = 0;           ///< the most that were seen
};

/// Measures this process from its construction on.
class meter {
public:
    meter();
    usage read() const;

private:
    usage begin_;
};

/// A number from /proc/PROCESS/status, such as "Threads"; 0 if it is not there. `process` is a number or "self".
std::size_t status_of(std::string_view process, std::string_view field);
