// SPDX-License-Identifier: BSL-1.0
#include "options.hpp"
#include "url.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <map>

#include <unistd.h>

namespace {

constexpr int usage_error = 2;

int parse_number(std::string_view text, int least, int most, const std::string& what)
{
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number < least || number > most)
        throw CLI::ValidationError{fmt::format("--queue: '{}' is no {}", text, what)};
    return number;
}

redis_address parse_address(const std::string& text)
{
    constexpr std::string_view scheme = "redis://";
    if (!text.starts_with(scheme))
        throw CLI::ValidationError{fmt::format("--queue: '{}' is not like redis://host:port/database", text)};
    redis_address result;
    result.host = text.substr(scheme.size());
    if (const auto slash = result.host.find('/'); slash != std::string::npos) {
        if (slash + 1 < result.host.size())
            result.database = parse_number(result.host.substr(slash + 1), 0, 1'000'000, "number of a database");
        result.host.resize(slash);
    }
    const auto colon = result.host.rfind(':');
    if (colon != std::string::npos && result.host.find(']', colon) == std::string::npos) {
        result.port = parse_number(result.host.substr(colon + 1), 1, 65'535, "port");
        result.host.resize(colon);
    }
    if (result.host.starts_with('[') && result.host.ends_with(']')) // an IPv6 address
        result.host = result.host.substr(1, result.host.size() - 2);
    if (result.host.empty())
        throw CLI::ValidationError{fmt::format("--queue: there is no host in '{}'", text)};
    return result;
}

std::string default_worker()
{
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    return fmt::format("{}-{}", host.data(), ::getpid());
}

/// An option for a duration.
void add_duration(CLI::App& arguments, const char* name, double& milliseconds, const char* help)
{
    static const std::map<std::string, double> units{{"ms", 1}, {"s", 1000}, {"m", 60'000}};
    arguments.add_option(name, milliseconds, help)
        ->transform(CLI::AsNumberWithUnit(units))
        ->check(CLI::Range(1.0, 86'400'000.0));
}

std::chrono::milliseconds from(double milliseconds)
{
    return std::chrono::milliseconds{static_cast<std::chrono::milliseconds::rep>(milliseconds)};
}

} // namespace

options parse_options(int argc, char** argv)
{
    options result;
    result.worker = default_worker();
    std::string queue;
    double timeout = 10'000, claim_after = 30'000, patience = 30'000;

    CLI::App arguments{"Crawls web sites: fetches pages and follows their links, within the hosts of the seeds."};
    arguments.add_option("--seed", result.seeds, "a URL to begin with; may be repeated");
    arguments.add_option("--queue", queue, "redis://host:port/database: share the work with other processes");
    arguments.add_option("--workers", result.workers, "pages to fetch at a time, a fiber each")
        ->capture_default_str()
        ->check(CLI::Range(1, 10'000));
    arguments.add_option("--depth", result.depth, "links to follow, one after the other")->capture_default_str();
    add_duration(arguments, "--timeout", timeout, "for one page (10s)");
    arguments.add_flag("--idle-exit", result.idle_exit, "end when all is done, instead of waiting for more");
    arguments.add_flag("--json", result.json, "the results as JSON instead of a table");
    arguments.add_option("--crawl", result.crawl, "the name of the work in Redis")->capture_default_str();
    arguments.add_option("--group", result.group, "the consumer group in Redis")->capture_default_str();
    arguments.add_option("--name", result.worker, "the name of this process, unique in the group");
    add_duration(arguments, "--claim-after", claim_after,
                 "take the work of who has not been heard of for so long (30s)");
    add_duration(arguments, "--patience", patience, "how long to try to reach a Redis that is gone (30s)");
    arguments.add_option("--deliveries", result.deliveries, "workers that may die of a page before it is given up")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
    try {
        arguments.parse(argc, argv);
        if (!queue.empty())
            result.redis = parse_address(queue);
        else if (result.seeds.empty())
            throw CLI::ValidationError{"there is nothing to do: give a --seed or a --queue"};
        for (auto& seed : result.seeds) {
            auto url = normal_url(seed);
            if (!url)
                throw CLI::ValidationError{fmt::format("--seed: '{}' is not an http or https URL", seed)};
            seed = *std::move(url);
        }
    } catch (const CLI::ParseError& error) {
        std::exit(arguments.exit(error) == 0 ? 0 : usage_error);
    }
    result.timeout = from(timeout);
    result.claim_after = from(claim_after);
    result.patience = from(patience);
    result.idle_exit = result.idle_exit || !result.redis; // nobody else could bring more
    return result;
}
