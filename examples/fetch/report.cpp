// SPDX-License-Identifier: BSL-1.0
#include "report.hpp"
#include "io.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

std::string seconds_text(double seconds)
{
    return seconds < 1 ? fmt::format("{:.3f} s", seconds) : fmt::format("{:.2f} s", seconds);
}

std::string memory_text(std::size_t kib)
{
    const double mib = static_cast<double>(kib) / 1024;
    return mib < 1024 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.1f} GiB", mib / 1024);
}

void print_table(std::span<const run> runs)
{
    constexpr std::size_t columns = 10;
    using row = std::array<std::string, columns>;
    std::vector<row> rows{{"mode", "requests", "wall time", "threads", "peak memory", "address space", "switches",
                           "CPU time", "bytes", "failed"}};
    for (const auto& each : runs)
        rows.push_back({std::string{name_of(each.how)} + (each.is_sample() ? " *" : ""), grouped(each.outcomes.size()),
                        seconds_text(each.cost.wall_s), grouped(each.cost.threads),
                        memory_text(each.cost.peak_memory_kib), memory_text(each.cost.address_space_kib),
                        grouped(each.cost.context_switches), seconds_text(each.cost.cpu_s), grouped(each.bytes()),
                        grouped(each.failures())});

    std::array<std::size_t, columns> widths{};
    for (const auto& cells : rows)
        for (std::size_t i = 0; i < columns; ++i)
            widths[i] = std::max(widths[i], cells[i].size());
    for (const auto& cells : rows) {
        fmt::print("{:<{}}", cells[0], widths[0]);
        for (std::size_t i = 1; i < columns; ++i)
            fmt::print("  {:>{}}", cells[i], widths[i]);
        fmt::print("\n");
    }
    for (const auto& each : runs)
        if (each.is_sample())
            fmt::print("* measured on {} requests only; by that, {} one after the other take {:.0f} s\n",
                       grouped(each.outcomes.size()), grouped(each.whole), each.whole_wall_s());
}

bool same_bytes(std::span<const run> runs, std::span<const std::string> urls)
{
    bool same = true;
    for (std::size_t number = 0; number < urls.size(); ++number) {
        const run* first = nullptr;
        for (const auto& each : runs) {
            if (number >= each.outcomes.size() || !each.outcomes[number].error.empty())
                continue;
            if (!first)
                first = &each;
            if (each.outcomes[number].bytes == first->outcomes[number].bytes)
                continue;
            same = false;
            fmt::print(stderr, "fetch: {}: {} received {} bytes, {} received {}\n", printable(urls[number]),
                       name_of(first->how), first->outcomes[number].bytes, name_of(each.how),
                       each.outcomes[number].bytes);
        }
    }
    return same;
}
