// SPDX-License-Identifier: BSL-1.0
#include "options.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <map>

namespace {

constexpr int usage_error = 2;

using milliseconds = std::chrono::milliseconds;

const std::map<std::string, std::vector<mode>, std::less<>> modes_by_name{
    {"sequential", {mode::sequential}},
    {"threads", {mode::threads}},
    {"fibers", {mode::fibers}},
    {"all", {mode::sequential, mode::threads, mode::fibers}},
};

milliseconds parse_duration(const std::string& text)
{
    static const std::map<std::string, double, std::less<>> units{{"ms", 1}, {"s", 1000}, {"m", 60'000}};
    const auto wrong = [&] {
        return CLI::ValidationError{fmt::format("--timeout: '{}' is not a duration like 10s, 500ms or 2m", text)};
    };
    const auto digits = text.find_first_not_of("0123456789.");
    const auto unit = digits == std::string::npos ? units.end() : units.find(text.substr(digits));
    if (digits == 0 || unit == units.end())
        throw wrong();
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    if (end != text.c_str() + digits)
        throw wrong();
    const double result = number * unit->second;
    if (result < 1 || result > 24 * 3'600'000)
        throw CLI::ValidationError{fmt::format("--timeout: '{}' is not between 1ms and a day", text)};
    return milliseconds{static_cast<milliseconds::rep>(result)};
}

std::string trimmed(const std::string& line)
{
    constexpr auto blanks = " \t\r\f\v";
    const auto first = line.find_first_not_of(blanks);
    return first == std::string::npos ? "" : line.substr(first, line.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string> read_list(const std::string& name)
{
    std::ifstream file;
    errno = 0;
    if (name != "-")
        file.open(name);
    auto& input = name == "-" ? std::cin : file;
    std::vector<std::string> urls;
    std::string line;
    while (std::getline(input, line)) {
        auto url = trimmed(line);
        if (url.find('\0') != std::string::npos)
            throw CLI::ValidationError{fmt::format("-f: '{}' is not a text file", name)};
        if (!url.empty() && url.front() != '#')
            urls.push_back(std::move(url));
    }
    if (!input.eof())
        throw CLI::ValidationError{fmt::format("-f: cannot read '{}': {}", name, std::strerror(errno))};
    if (urls.empty())
        throw CLI::ValidationError{fmt::format("-f: there is no URL in '{}'", name)};
    return urls;
}

} // namespace

std::string_view name_of(mode how)
{
    switch (how) {
    case mode::sequential: return "sequential";
    case mode::threads: return "threads";
    case mode::fibers: return "fibers";
    }
    return "";
}

options parse_options(int argc, char** argv)
{
    options result;
    std::string mode_name, list, timeout, measure;

    CLI::App app{"Fetches URLs with blocking libcurl: one after the other, on threads, or in fibers on one thread.\n"
                 "Without a URL: an experiment with a server of its own, whose answers take 50 ms.",
                 "fetch"};
    app.add_option("url", result.urls, "what to fetch")->option_text("URL...");
    app.add_option("-f,--file", list, "fetch the URLs in FILE too, one a line; '-' is the standard input")
        ->option_text("FILE");
    app.add_option("-m,--mode", mode_name, "sequential, threads, fibers or all\n(default: fibers; without a URL, all)")
        ->check(CLI::IsMember(modes_by_name))
        ->option_text("MODE");
    app.add_option("-c,--concurrency", result.concurrency, "how many at once (default: 1000)")
        ->check(CLI::Range(1, 1'000'000))
        ->option_text("N");
    app.add_option("-t,--timeout", timeout, "for each URL, like 10s or 500ms (default: 30s)")->option_text("DURATION");
    app.add_option("-o,--out", result.out, "write each body to a file in DIR, named NUMBER-URL")->option_text("DIR");
    app.add_option("--plot", result.plot, "draw the figures")->option_text("FILE.svg");
    auto* requests = app.add_option("--requests", result.requests, "of the experiment (default: 1000)")
                         ->check(CLI::Range(1, 1'000'000))
                         ->option_text("N");
    app.add_option("--sample", result.sample,
                   "how many of them 'sequential' makes where it runs\nbeside the other modes (default: 40)")
        ->check(CLI::Range(1, 1'000'000))
        ->option_text("N");
    app.add_flag("--serve", result.serve)->group("");
    app.add_option("--measure", measure)->check(CLI::IsMember(modes_by_name))->group("");
    app.footer("Exit status: 0 if every URL was fetched, 1 if some were not, 2 if the command line makes no sense.");

    try {
        app.parse(argc, argv);
        if (!timeout.empty())
            result.timeout = parse_duration(timeout);
        if (!list.empty())
            std::ranges::move(read_list(list), std::back_inserter(result.urls));
        if (requests->count() > 0 && !result.urls.empty())
            throw CLI::ValidationError{"--requests is for the experiment, which takes no URL"};
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : usage_error);
    }

    if (mode_name.empty())
        mode_name = result.urls.empty() ? "all" : "fibers";
    result.modes = modes_by_name.at(mode_name);
    if (!measure.empty())
        result.measure = modes_by_name.at(measure).front();
    return result;
}
