// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/datagram_socket.hpp>
#include <coir/net/endpoint.hpp>

#include <optional>

namespace coir::net {

struct udp_options {
    bool reuse_address = false;    ///< SO_REUSEADDR: several sockets at one multicast address
    bool reuse_port = false;       ///< SO_REUSEPORT: several sockets at one address; the kernel spreads the senders
    std::optional<bool> v6_only{}; ///< IPV6_V6ONLY; nothing: what net.ipv6.bindv6only says
};

/// Sends and receives UDP datagrams.
///
///     coir::net::udp_socket socket{{make_address("0.0.0.0"), 5353}};
///     std::array<std::byte, 1500> data;
///     const auto query = socket.receive_from(data);
///     socket.send_to(answer, query.from);
///
/// Multicast and broadcast: by Asio's options, boost::asio::ip::multicast::join_group and socket::broadcast.
class udp_socket : public datagram_socket<boost::asio::ip::udp> {
public:
    udp_socket() noexcept = default;
    /// Bound to an address. The unspecified one (`{udp::v4(), 0}`) is every address of the machine, port 0 any port.
    /// Never suspends. Throws std::system_error: error::address_in_use ...
    explicit udp_socket(const udp_endpoint& at, const udp_options& options = {});
    static udp_socket bind(const udp_endpoint& at, const udp_options& options, error_code& ec);
    static udp_socket bind(const udp_endpoint& at, error_code& ec) { return bind(at, {}, ec); }
    /// Takes over a socket. Its flags are left alone and do not matter.
    explicit udp_socket(unique_fd owned) noexcept : datagram_socket{std::move(owned)} {}
};

} // namespace coir::net
