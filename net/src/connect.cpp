// SPDX-License-Identifier: BSL-1.0
#include "happy_eyeballs.hpp"

#include <coir/net/connect.hpp>

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

namespace coir::net {

// ---- the target -----------------------------------------------------------------------------------------------------

host_and_service split_host_port(std::string_view text, error_code& ec)
{
    ec = error::invalid_argument;
    std::string_view host;
    std::string_view rest;
    if (text.starts_with('[')) {
        const auto end = text.find(']');
        if (end == std::string_view::npos)
            return {};
        host = text.substr(1, end - 1);
        rest = text.substr(end + 1);
        if (host.empty() || !rest.starts_with(':'))
            return {};
    } else {
        const auto colon = text.find(':');
        if (colon == std::string_view::npos)
            return {};
        host = text.substr(0, colon);
        rest = text.substr(colon);
    }
    const auto service = rest.substr(1);
    if (service.empty() || service.find_first_of(":[]") != std::string_view::npos ||
        host.find_first_of("[]") != std::string_view::npos)
        return {};
    ec.clear();
    return {std::string{host}, std::string{service}};
}

host_and_service split_host_port(std::string_view text)
{
    error_code ec;
    auto parts = split_host_port(text, ec);
    if (ec.failed())
        throw std::system_error{ec, "coir::net: '" + std::string{text} + "' is no HOST:PORT"};
    return parts;
}

// ---- the race -------------------------------------------------------------------------------------------------------

std::vector<tcp_endpoint> interleave(std::span<const tcp_endpoint> sorted, std::size_t first_count)
{
    std::vector<tcp_endpoint> preferred;
    std::vector<tcp_endpoint> others;
    for (const auto& each : sorted)
        (each.protocol() == sorted.front().protocol() ? preferred : others).push_back(each);

    std::vector<tcp_endpoint> order;
    auto from = preferred.begin();
    auto other = others.begin();
    const auto take_preferred = [&](std::size_t count) {
        for (; count > 0 && from != preferred.end(); --count)
            order.push_back(*from++);
    };
    take_preferred(std::max<std::size_t>(1, first_count));
    while (from != preferred.end() || other != others.end()) {
        if (other != others.end())
            order.push_back(*other++);
        take_preferred(1);
    }
    return order;
}

namespace {

/// How far an attempt has come.
int distance(const error_code& failure)
{
    if (failure == error::address_family_not_supported || failure == boost::system::errc::address_not_available)
        return 0; // this machine has no such address
    if (failure == error::network_unreachable || failure == error::host_unreachable || failure == error::network_down)
        return 1; // nobody knows the way
    if (failure == error::timed_out)
        return 2; // on its way, something was lost
    if (failure == error::connection_refused || failure == error::connection_reset)
        return 3; // it has arrived
    return 4;     // and this is our own: descriptors, memory, permission
}

std::string text_of(const std::string& target, const std::vector<failed_attempt>& attempts)
{
    std::ostringstream text;
    text << "coir::net::connect: " << target;
    for (const auto& each : attempts)
        text << (&each == attempts.data() ? " (" : "; ") << each.endpoint << ": " << each.failure.message();
    if (!attempts.empty())
        text << ")";
    return std::move(text).str();
}

tcp_stream connect_to_any(std::span<const tcp_endpoint> endpoints, const connect_options& options, error_code& ec,
                          std::vector<failed_attempt>& failures)
{
    if (endpoints.empty()) {
        ec = error::not_found;
        return {};
    }
    const auto order = interleave(endpoints, options.first_family_count);
    auto result = race<tcp_stream>(order, options.attempt_delay, [](const tcp_endpoint& to, error_code& failed) {
        return tcp_stream::connect(to, failed);
    });
    failures = std::move(result.failures);
    if (!result.winner) {
        ec = most_telling(failures);
        return {};
    }
    ec.clear();
    return std::move(*result.winner);
}

std::vector<tcp_endpoint> look_up(const host_and_service& target, const connect_options& options, error_code& ec)
{
    auto& names = options.names ? *options.names : resolver::shared();
    return names.resolve(target.host, target.service, ec).endpoints;
}

} // namespace

error_code most_telling(std::span<const failed_attempt> failures)
{
    const auto farthest =
        std::ranges::max_element(failures, {}, [](const failed_attempt& each) { return distance(each.failure); });
    return farthest == failures.end() ? error_code{} : farthest->failure;
}

connect_error::connect_error(const std::string& target, std::vector<failed_attempt> attempts)
    : std::system_error{most_telling(attempts), text_of(target, attempts)}, attempts_{std::move(attempts)}
{
}

// ---- connect --------------------------------------------------------------------------------------------------------

tcp_stream connect(std::span<const tcp_endpoint> endpoints, error_code& ec, const connect_options& options)
{
    std::vector<failed_attempt> failures;
    return connect_to_any(endpoints, options, ec, failures);
}

tcp_stream connect(std::span<const tcp_endpoint> endpoints, const connect_options& options)
{
    error_code ec;
    std::vector<failed_attempt> failures;
    auto stream = connect_to_any(endpoints, options, ec, failures);
    if (!failures.empty() && ec.failed())
        throw connect_error{"no address", std::move(failures)};
    throw_if(ec, "coir::net::connect");
    return stream;
}

tcp_stream connect(const host_and_service& target, error_code& ec, const connect_options& options)
{
    const auto endpoints = look_up(target, options, ec);
    return ec.failed() ? tcp_stream{} : connect(endpoints, ec, options);
}

tcp_stream connect(const host_and_service& target, const connect_options& options)
{
    const auto name = target.host + ":" + target.service;
    error_code ec;
    const auto endpoints = look_up(target, options, ec);
    std::vector<failed_attempt> failures;
    auto stream = ec.failed() ? tcp_stream{} : connect_to_any(endpoints, options, ec, failures);
    if (ec.failed() && !failures.empty())
        throw connect_error{name, std::move(failures)};
    if (ec.failed())
        throw std::system_error{ec, "coir::net::connect: " + name};
    return stream;
}

tcp_stream connect(std::string_view host_port, error_code& ec, const connect_options& options)
{
    const auto target = split_host_port(host_port, ec);
    return ec.failed() ? tcp_stream{} : connect(target, ec, options);
}

tcp_stream connect(std::string_view host_port, const connect_options& options)
{
    return connect(split_host_port(host_port), options);
}

} // namespace coir::net
