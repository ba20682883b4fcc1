// SPDX-License-Identifier: BSL-1.0
#include "usage.hpp"
#include "io.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include <fcntl.h>
#include <sys/resource.h>

namespace {

double seconds(const timeval& time)
{
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

usage totals()
{
    rusage all{};
    getrusage(RUSAGE_SELF, &all);
    return {
        .wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(),
        .cpu_s = seconds(all.ru_utime) + seconds(all.ru_stime),
        .context_switches = static_cast<std::size_t>(all.ru_nvcsw + all.ru_nivcsw),
        // Not ru_maxrss, which remembers the program that was there before exec.
        .peak_memory_kib = status_of("self", "VmHWM"),
        .address_space_kib = status_of("self", "VmPeak"),
        .threads = status_of("self", "Threads"),
    };
}

} // namespace

meter::meter() : begin_{totals()} {}

usage meter::read() const
{
    auto result = totals();
    result.wall_s -= begin_.wall_s;
    result.cpu_s -= begin_.cpu_s;
    result.context_switches -= begin_.context_switches;
    return result;
}

std::size_t status_of(std::string_view process, std::string_view field)
{
    const unique_fd file{::open(fmt::format("/proc/{}/status", process).c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.get() < 0)
        return 0;
    char text[4096];
    const auto size = ::read(file.get(), text, sizeof text);
    if (size <= 0)
        return 0;
    const std::string status{text, static_cast<std::size_t>(size)};
    const auto line = status.find(fmt::format("\n{}:", field));
    return line == std::string::npos ? 0 : std::strtoul(status.c_str() + line + field.size() + 2, nullptr, 10);
}
