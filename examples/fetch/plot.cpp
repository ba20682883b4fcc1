// SPDX-License-Identifier: BSL-1.0
#include "io.hpp"
#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fcntl.h>

namespace {

constexpr double width = 880;
constexpr double left = 130;    // the bars begin here, with the mode's name before them
constexpr double bar_max = 540; // and the value after them
constexpr double bar_height = 26;
constexpr double bar_distance = 34;

constexpr std::string_view style = R"svg(<style>
  text { font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
  .title { font-size: 18px; font-weight: 600 }
  .panel { font-weight: 600 }
  .name { text-anchor: end }
  .sequential { fill: #8b949e } .threads { fill: #d4733b } .fibers { fill: #1a7f74 }
  .axis { stroke: #d0d7de }
</style>
<pattern id="guess" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
  <rect width="8" height="8" fill="#d8dde3"/><rect width="4" height="8" fill="#8b949e"/>
</pattern>
)svg";

struct bar {
    const run* of;
    double value;
    std::string text;
    bool estimated = false;
};

std::string escaped(std::string_view text)
{
    std::string result;
    for (const char c : text) {
        switch (c) {
        case '&': result += "&amp;"; break;
        case '<': result += "&lt;"; break;
        case '>': result += "&gt;"; break;
        default: result += c;
        }
    }
    return result;
}

/// A heading and a bar for each run, from `y` down. Returns where it ends.
double draw_panel(std::string& svg, double y, std::string_view heading, std::span<const bar> bars)
{
    svg += fmt::format("<text class=\"panel\" x=\"24\" y=\"{}\">{}</text>\n", y, heading);
    y += 14;
    const auto largest = std::max(1e-9, std::ranges::max_element(bars, {}, &bar::value)->value);
    svg += fmt::format("<line class=\"axis\" x1=\"{0}\" x2=\"{0}\" y1=\"{1}\" y2=\"{2}\"/>\n", left, y,
                       y + bar_distance * static_cast<double>(bars.size()));
    for (const auto& each : bars) {
        const auto length = std::max(2.0, bar_max * each.value / largest);
        const auto name = name_of(each.of->how);
        svg += fmt::format("<text class=\"name\" x=\"{}\" y=\"{}\">{}</text>\n", left - 10, y + 22, name);
        svg += fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\"{}/>\n", name, left,
                           y + 4, length, bar_height, each.estimated ? " style=\"fill: url(#guess)\"" : "");
        svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\">{}</text>\n", left + length + 10, y + 22, each.text);
        y += bar_distance;
    }
    return y + 34;
}

} // namespace

void draw_plot(const std::filesystem::path& file, std::span<const run> runs, const std::string& title)
{
    std::vector<bar> walls, memories, spaces, threads;
    for (const auto& each : runs) {
        const auto wall = each.whole_wall_s();
        walls.push_back({&each, wall,
                         each.is_sample() ? fmt::format("{:.0f} s, by a sample of {}", wall, each.outcomes.size())
                                          : seconds_text(wall),
                         each.is_sample()});
        memories.push_back(
            {&each, static_cast<double>(each.cost.peak_memory_kib), memory_text(each.cost.peak_memory_kib)});
        spaces.push_back(
            {&each, static_cast<double>(each.cost.address_space_kib), memory_text(each.cost.address_space_kib)});
        threads.push_back({&each, static_cast<double>(each.cost.threads), grouped(each.cost.threads)});
    }

    std::string panels;
    double y = 84;
    y = draw_panel(panels, y, "wall time", walls);
    y = draw_panel(panels, y, "peak memory", memories);
    y = draw_panel(panels, y, "address space", spaces);
    y = draw_panel(panels, y, "OS threads", threads);
    const auto height = y - 14;
    const auto svg =
        fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n"
                    "{2}<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
                    "<text class=\"title\" x=\"24\" y=\"40\">{3}</text>\n{4}</svg>\n",
                    width, height, style, escaped(title), panels);

    const auto what = fmt::format("cannot write {}", file.string());
    unique_fd out{checked(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), what.c_str())};
    try {
        write_all(out.get(), svg);
    } catch (const std::system_error& error) {
        throw std::system_error(error.code(), what);
    }
}
