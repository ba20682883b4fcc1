// SPDX-License-Identifier: BSL-1.0
//
// Which ports of a host accept connections? A fiber for each port, but only so many at a time, and each with a limit:
// a port behind a firewall does not answer at all.
//
//     port_scanner 127.0.0.1 --ports 1-1024 --at-once 200 --timeout-ms 500
#include <coir/cancel_scope.hpp>
#include <coir/fiber_pool.hpp>
#include <coir/net/resolver.hpp>
#include <coir/net/tcp_stream.hpp>
#include <coir/runtime.hpp>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <charconv>
#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <utility>

using namespace coir::net;

namespace {

struct scan {
    std::set<unsigned short> open;
    std::size_t refused = 0;
    std::size_t silent = 0;
    std::size_t failed = 0;
};

/// Tries one port.
void look(const address& host, unsigned short port, std::chrono::milliseconds limit, scan& found)
{
    error_code ec;
    const bool answered = coir::try_for(limit, [&] { tcp_stream::connect({host, port}, ec); });
    if (!answered || ec == error::timed_out)
        ++found.silent;
    else if (!ec)
        found.open.insert(port);
    else if (ec == error::connection_refused)
        ++found.refused;
    else
        ++found.failed;
}

scan look_at_all(const address& host, std::pair<int, int> ports, std::size_t at_once, std::chrono::milliseconds limit)
{
    scan found;
    coir::fiber_pool lookers{at_once};
    for (int port = ports.first; port <= ports.second; ++port)
        lookers.spawn([&, port] { look(host, static_cast<unsigned short>(port), limit, found); }); // waits for room
    lookers.join();
    return found;
}

int parse_port(std::string_view text)
{
    unsigned short port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0)
        throw CLI::ValidationError{fmt::format("--ports: '{}' is no port", text)};
    return port;
}

/// "80" or "1-1024".
std::pair<int, int> parse_ports(std::string_view text)
{
    const auto dash = text.find('-');
    const int first = parse_port(text.substr(0, dash));
    return {first, dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1))};
}

} // namespace

int main(int argc, char** argv)
{
    CLI::App arguments{"Says which TCP ports of a host accept connections."};
    std::string host, ports_text = "1-1024";
    std::size_t at_once = 200;
    int limit_ms = 1000;
    arguments.add_option("host", host, "a name or an address")->required();
    arguments.add_option("--ports", ports_text, "the first and the last")->capture_default_str();
    arguments.add_option("--at-once", at_once, "connections to try at a time")
        ->capture_default_str()
        ->check(CLI::Range(1, 10'000));
    arguments.add_option("--timeout-ms", limit_ms, "for one port")->capture_default_str()->check(CLI::PositiveNumber);
    std::pair<int, int> ports;
    try {
        arguments.parse(argc, argv);
        ports = parse_ports(ports_text);
    } catch (const CLI::ParseError& error) {
        return arguments.exit(error) == 0 ? 0 : 2;
    }

    try {
        coir::run([&] {
            const auto where = resolver::shared().resolve(host, "0").endpoints.front().address();
            const auto found = look_at_all(where, ports, at_once, std::chrono::milliseconds{limit_ms});
            for (const auto port : found.open)
                fmt::print("{}\n", port);
            fmt::print(stderr, "{}: {} open, {} refused, {} silent, {} failed\n", where.to_string(), found.open.size(),
                       found.refused, found.silent, found.failed);
        });
    } catch (const std::exception& error) {
        fmt::print(stderr, "port_scanner: {}\n", error.what());
        return 1;
    }
}
