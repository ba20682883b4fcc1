// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/listener.hpp>
#include <coir/net/tcp_stream.hpp>

#include <optional>

namespace coir::net {

struct tcp_listen_options {
    int backlog = default_backlog;
    bool reuse_address = true; ///< SO_REUSEADDR: also while connections of an earlier process linger
    bool reuse_port = false;   ///< SO_REUSEPORT: several listeners share the port, and the kernel spreads connections
    std::optional<bool> v6_only{}; ///< IPV6_V6ONLY; nothing: what net.ipv6.bindv6only says
};

/// Accepts TCP connections.
///
///     coir::net::tcp_listener listener{{make_address("::"), 8080}};
///     for (;;)
///         coir::fiber{serve, listener.accept()}.detach();   // or `serve` of serve.hpp
class tcp_listener : public listener<tcp_stream> {
public:
    tcp_listener() noexcept = default;
    /// Never suspends. Throws std::system_error: error::address_in_use, error::access_denied ...
    explicit tcp_listener(const tcp_endpoint& at, const tcp_listen_options& options = {});
    static tcp_listener listen(const tcp_endpoint& at, const tcp_listen_options& options, error_code& ec);
    static tcp_listener listen(const tcp_endpoint& at, error_code& ec) { return listen(at, {}, ec); }
    /// Takes over a listening socket, such as one that systemd has opened, and sets O_NONBLOCK.
    explicit tcp_listener(unique_fd listening);
};

} // namespace coir::net
