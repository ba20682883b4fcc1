// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/clock.hpp>
#include <coir/net/endpoint.hpp>
#include <coir/net/error.hpp>
#include <coir/net/resolver.hpp>
#include <coir/net/tcp_stream.hpp>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace coir::net {

/// A host and a service, as `resolver` takes them.
struct host_and_service {
    std::string host;
    std::string service;
};

/// "example.org:443", "example.org:https", "192.0.2.1:80", "[2001:db8::1]:80" (RFC 3986, 3.2.2), ":80" for this
/// machine. Fails with error::invalid_argument: there must be a port, and what has several colons must have brackets.
host_and_service split_host_port(std::string_view text, error_code& ec);
host_and_service split_host_port(std::string_view text);

struct failed_attempt {
    tcp_endpoint endpoint;
    error_code failure;
};

/// No address could be connected to. The code is that of the attempt which came farthest; `what` tells of all.
class connect_error : public std::system_error {
public:
    connect_error(const std::string& target, std::vector<failed_attempt> attempts);
    const std::vector<failed_attempt>& attempts() const noexcept { return attempts_; }

private:
    std::vector<failed_attempt> attempts_;
};

struct connect_options {
    /// The head start of each attempt over the next; an attempt that fails ends its head start. RFC 8305, 5: 250 ms are
    /// recommended, less than 10 ms forbidden, and 100 ms to 2 s are sensible.
    clock::duration attempt_delay = std::chrono::milliseconds{250};
    /// How many addresses of the preferred family come before the first of the other (RFC 8305, 4: First Address Family
    /// Count).
    std::size_t first_family_count = 1;
    resolver* names = nullptr; ///< null: resolver::shared()
};

/// Connects to a name: looks it up and races its addresses, IPv6 and IPv4 by turns (Happy Eyeballs, RFC 8305). The
/// first connection counts, and the other attempts are given up. libc gives the addresses of both families at the same
/// time, so there is no Resolution Delay (RFC 8305, 3) to wait for.
///
///     auto stream = coir::net::connect("example.org:80");
///
/// Suspends; give it a `timeout`, because the kernel tries an address that does not answer for two minutes
/// (tcp_syn_retries in tcp(7)). On a plain thread it blocks that, and tries one address after the other.
///
/// Fails as `resolver::resolve` does, and with what the attempt said that came farthest: that a machine has refused
/// says more than that another could not be reached. The throwing forms throw connect_error where addresses were tried.
/// Throws `cancelled` and `timed_out`.
tcp_stream connect(std::string_view host_port, error_code& ec, const connect_options& options = {});
tcp_stream connect(std::string_view host_port, const connect_options& options = {});
tcp_stream connect(const host_and_service& target, error_code& ec, const connect_options& options = {});
tcp_stream connect(const host_and_service& target, const connect_options& options = {});

/// The same for addresses that are known, in the order of preference.
tcp_stream connect(std::span<const tcp_endpoint> endpoints, error_code& ec, const connect_options& options = {});
tcp_stream connect(std::span<const tcp_endpoint> endpoints, const connect_options& options = {});

} // namespace coir::net
