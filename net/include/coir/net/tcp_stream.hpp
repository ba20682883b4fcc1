// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/endpoint.hpp>
#include <coir/net/stream_socket.hpp>

#include <boost/beast/core/role.hpp>

namespace coir::net {

/// A TCP connection. `coir::net::connect` (connect.hpp) makes one by name, `tcp_listener` accepts one.
///
///     auto peer = coir::net::tcp_stream::connect({make_address("127.0.0.1"), 80});
///     peer.write("GET / HTTP/1.0\r\n\r\n");
///     std::string answer;
///     const auto size = peer.read_until(answer, "\r\n");
///
/// TCP_NODELAY is on from the start, as in Go: small messages leave at once.
class tcp_stream : public stream_socket<boost::asio::ip::tcp> {
public:
    using no_delay = boost::asio::ip::tcp::no_delay;

    tcp_stream() noexcept = default;
    /// Takes over a connected socket. Its flags are left alone and do not matter.
    explicit tcp_stream(unique_fd connected) noexcept : stream_socket{std::move(connected)} {}

    /// Suspends until the connection is there, from `from` or from an address that the kernel chooses. Throws
    /// `cancelled` and `timed_out`; the attempt is then abandoned. Without a timeout it ends when the kernel gives up
    /// (tcp_syn_retries in tcp(7): after some two minutes).
    static tcp_stream connect(const tcp_endpoint& to, error_code& ec) { return connect(to, {}, ec); }
    static tcp_stream connect(const tcp_endpoint& to, const tcp_endpoint& from, error_code& ec);
    static tcp_stream connect(const tcp_endpoint& to, const tcp_endpoint& from = {});
};

/// For Beast's WebSocket: how the connection below ends. Suspends until the peer has closed, too.
void teardown(boost::beast::role_type role, tcp_stream& stream, error_code& ec);

} // namespace coir::net
