// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/socket.hpp>

#include <sys/socket.h>

namespace coir::net {

/// How many connections the kernel may complete before they are accepted; it takes at most net.core.somaxconn.
inline constexpr int default_backlog = SOMAXCONN;

/// What tcp_listener and unix_listener have in common. `Stream` is what is accepted.
///
/// Any number of fibers, on any hubs, may accept at the same time; each connection goes to one of them. The descriptor
/// has O_NONBLOCK.
template <class Stream> class listener : public socket {
public:
    using stream_type = Stream;
    using endpoint_type = typename Stream::endpoint_type;

    /// Suspends until somebody has connected. A connection that was gone again before it could be accepted is passed
    /// over. Fails with error::no_descriptors (EMFILE), ENFILE, ENOBUFS or ENOMEM when there is no room for one more
    /// now; the connection waits then. Throws `cancelled`, `timed_out`.
    Stream accept(error_code& ec) { return Stream{accept_socket(nullptr, nullptr, ec)}; }
    Stream accept();
    /// The same, and says from where.
    Stream accept(endpoint_type& peer, error_code& ec)
    {
        peer = {};
        auto size = static_cast<socklen_t>(peer.capacity());
        Stream accepted{accept_socket(peer.data(), &size, ec)};
        if (accepted)
            peer.resize(size);
        return accepted;
    }
    Stream accept(endpoint_type& peer);

    /// Never suspends. Port 0 at the beginning is here the one that the kernel has chosen.
    endpoint_type local_endpoint(error_code& ec) const { return endpoint_of<endpoint_type>(false, ec); }
    endpoint_type local_endpoint() const { return endpoint_of<endpoint_type>(false); }

    /// Gives the descriptor away, without O_NONBLOCK; the listener is not open any more. Never suspends.
    [[nodiscard]] unique_fd release() noexcept { return release_blocking(); }

protected:
    listener() noexcept = default;
    explicit listener(unique_fd listening) noexcept : socket{std::move(listening)} {}
    listener(listener&&) noexcept = default;
    listener& operator=(listener&&) noexcept = default;
    ~listener() = default;

private:
    unique_fd accept_socket(sockaddr* peer, socklen_t* size, error_code& ec);
};

} // namespace coir::net
