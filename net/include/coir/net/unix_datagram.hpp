// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/datagram_socket.hpp>
#include <coir/net/endpoint.hpp>

namespace coir::net {

/// Datagrams between processes of one machine (unix(7)): in order, and none is lost. Where the receiver's queue is
/// full, `send` waits.
///
///     coir::net::unix_datagram log;
///     log.connect({"/dev/log"});
///     log.send("<14>demo: hello");
class unix_datagram : public datagram_socket<boost::asio::local::datagram_protocol> {
public:
    /// Without a name: it can send, and be answered only if it binds one. Throws std::system_error. Never suspends.
    unix_datagram();
    /// Bound to a path, which is not removed afterwards, or to a name in the abstract namespace.
    explicit unix_datagram(const unix_datagram_endpoint& at);
    static unix_datagram bind(const unix_datagram_endpoint& at, error_code& ec);
    /// Takes over a socket. Its flags are left alone and do not matter.
    explicit unix_datagram(unique_fd owned) noexcept : datagram_socket{std::move(owned)} {}
};

} // namespace coir::net
