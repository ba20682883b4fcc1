// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/endpoint.hpp>
#include <coir/net/stream_socket.hpp>

#include <sys/socket.h>

#include <boost/beast/core/role.hpp>

namespace coir::net {

/// A connection between processes of one machine (unix(7)), which also carries descriptors.
///
///     auto daemon = coir::net::unix_stream::connect({"/run/daemon.sock"});
///     daemon.send_fd(log_file);
class unix_stream : public stream_socket<boost::asio::local::stream_protocol> {
public:
    unix_stream() noexcept = default;
    /// Takes over a connected socket. Its flags are left alone and do not matter.
    explicit unix_stream(unique_fd connected) noexcept : stream_socket{std::move(connected)} {}

    /// Suspends while the listener has no room for another connection. Throws `cancelled`, `timed_out`.
    static unix_stream connect(const unix_endpoint& to, error_code& ec);
    static unix_stream connect(const unix_endpoint& to);

    /// Sends a byte, and with it a descriptor that the peer gets a duplicate of. Suspends until there is room.
    void send_fd(int descriptor, error_code& ec);
    void send_fd(int descriptor);
    /// Reads one byte, and the descriptor that has come with it: close-on-exec. Suspends. Fails with error::no_data
    /// where the byte came without one.
    unique_fd receive_fd(error_code& ec);
    unique_fd receive_fd();

    /// Process, user and group of who connected or listened, as they were then (SO_PEERCRED). Never suspends.
    ucred peer_credentials(error_code& ec) const noexcept;
    ucred peer_credentials() const;
};

/// For Beast's WebSocket: how the connection below ends. Suspends until the peer has closed, too.
void teardown(boost::beast::role_type role, unix_stream& stream, error_code& ec);

/// Two streams, connected to each other. Never suspends.
struct unix_stream_pair {
    unix_stream first;
    unix_stream second;
};
unix_stream_pair make_unix_stream_pair();

} // namespace coir::net
