// SPDX-License-Identifier: BSL-1.0
#include "progress.hpp"
#include "io.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include <sys/ioctl.h>

namespace {

std::size_t terminal_width()
{
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

} // namespace

progress_bar::progress_bar()
{
    const char* terminal = std::getenv("TERM");
    enabled_ = ::isatty(STDERR_FILENO) && terminal && std::string_view{terminal} != "dumb";
}

void progress_bar::show(std::string_view label, std::size_t done, std::size_t total, std::size_t failed,
                        std::chrono::duration<double> elapsed)
{
    if (!enabled_)
        return;
    const auto before = fmt::format("{:<10} ", label);
    const auto after = fmt::format(" {} of {}, {:.1f} s{}", grouped(done), grouped(total), elapsed.count(),
                                   failed ? fmt::format(", {} failed", grouped(failed)) : "");
    const auto taken = before.size() + after.size() + 1;
    const auto width = std::min<std::size_t>(50, terminal_width() > taken ? terminal_width() - taken : 0);
    std::string bar;
    for (std::size_t i = 0; i < width; ++i)
        bar += i < width * done / total ? "\u2588" : "\u2591"; // full block, light shade
    fmt::print(stderr, "\r\x1b[K{}{}{}", before, bar, after);
    shown_ = true;
}

void progress_bar::clear()
{
    if (shown_)
        fmt::print(stderr, "\r\x1b[K");
    shown_ = false;
}
