// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/tcp_listener.hpp>
#include <coir/net/tls_stream.hpp>

#include <utility>

namespace coir::net {

/// Accepts connections that speak TLS, over any listener. `accept` does not shake hands: that is done by the fiber that
/// serves the connection, with its first read or write, so that a client that dawdles holds up nobody.
///
///     coir::net::tls_listener listener{coir::net::tcp_listener{{make_address("::"), 443}}, context};
///     coir::net::tls_stream peer = listener.accept();
///
/// Fibers and threads: as the listener below.
template <class Listener = tcp_listener> class basic_tls_listener {
public:
    using stream_type = tls_stream;
    using endpoint_type = typename Listener::endpoint_type;

    basic_tls_listener(Listener below, tls_context context) : below_{std::move(below)}, context_{std::move(context)} {}

    /// Suspend, fail and throw as the `accept` below.
    tls_stream accept(error_code& ec) { return over(below_.accept(ec), ec); }
    tls_stream accept() { return {below_.accept(), context_}; }
    tls_stream accept(endpoint_type& peer, error_code& ec) { return over(below_.accept(peer, ec), ec); }
    tls_stream accept(endpoint_type& peer) { return {below_.accept(peer), context_}; }

    endpoint_type local_endpoint(error_code& ec) const { return below_.local_endpoint(ec); }
    endpoint_type local_endpoint() const { return below_.local_endpoint(); }
    int native_handle() const noexcept { return below_.native_handle(); }
    bool is_open() const noexcept { return below_.is_open(); }
    explicit operator bool() const noexcept { return is_open(); }
    /// Wakes who waits in `accept`. Never suspends.
    void close(error_code& ec) noexcept { below_.close(ec); }
    void close() { below_.close(); }

    Listener& below() noexcept { return below_; }

private:
    tls_stream over(typename Listener::stream_type&& accepted, const error_code& ec) const
    {
        return ec.failed() ? tls_stream{} : tls_stream{std::move(accepted), context_};
    }

    Listener below_;
    tls_context context_;
};

using tls_listener = basic_tls_listener<>;

} // namespace coir::net
