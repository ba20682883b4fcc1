// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/buffers.hpp>
#include <coir/net/socket.hpp>

#include <cstddef>

namespace coir::net {

/// A datagram that has been received.
template <class Endpoint> struct datagram {
    std::size_t size = 0;      ///< bytes in the buffers
    std::size_t full_size = 0; ///< bytes that were sent: what did not fit is lost
    Endpoint from{};

    bool truncated() const noexcept { return full_size > size; }
};

/// What udp_socket and unix_datagram have in common.
///
/// Any number of fibers may send and receive with one socket at the same time; each datagram goes to one of them. The
/// descriptor has no O_NONBLOCK. An empty datagram is a datagram, and no end.
template <class Protocol> class datagram_socket : public socket {
public:
    using protocol_type = Protocol;
    using endpoint_type = typename Protocol::endpoint;
    using datagram_type = datagram<endpoint_type>;

    /// Suspends until the datagram is on its way. Whether it arrives, nobody says.
    template <const_bytes Buffers> void send_to(Buffers&& from, const endpoint_type& to, error_code& ec)
    {
        send_parts(buffer_parts::to_send(from).left(), &to, ec);
    }
    template <const_bytes Buffers> void send_to(Buffers&& from, const endpoint_type& to)
    {
        error_code ec;
        send_to(from, to, ec);
        throw_if(ec, "coir::net: send_to");
    }
    /// The same, to the endpoint that the socket is connected to. Fails with error::connection_refused after the peer's
    /// machine has said that nobody is there.
    template <const_bytes Buffers> void send(Buffers&& from, error_code& ec)
    {
        send_parts(buffer_parts::to_send(from).left(), nullptr, ec);
    }
    template <const_bytes Buffers> void send(Buffers&& from)
    {
        error_code ec;
        send(from, ec);
        throw_if(ec, "coir::net: send");
    }

    /// Suspends until a datagram has come: on a connected socket, one from that endpoint.
    template <mutable_bytes Buffers> datagram_type receive_from(Buffers&& into, error_code& ec)
    {
        return receive_parts(buffer_parts::to_fill(into).left(), ec);
    }
    template <mutable_bytes Buffers> datagram_type receive_from(Buffers&& into)
    {
        error_code ec;
        const auto received = receive_from(into, ec);
        throw_if(ec, "coir::net: receive_from");
        return received;
    }
    /// The same, for who knows where it comes from and that it fits: fails with error::message_size if it does not.
    template <mutable_bytes Buffers> std::size_t receive(Buffers&& into, error_code& ec)
    {
        const auto received = receive_from(into, ec);
        if (received.truncated())
            ec = error::message_size;
        return received.size;
    }
    template <mutable_bytes Buffers> std::size_t receive(Buffers&& into)
    {
        error_code ec;
        const auto size = receive(into, ec);
        throw_if(ec, "coir::net: receive");
        return size;
    }

    /// Sets where `send` sends to, and from whom alone is received. Never suspends.
    void connect(const endpoint_type& to, error_code& ec);
    void connect(const endpoint_type& to);

    /// Never suspends.
    endpoint_type local_endpoint(error_code& ec) const { return endpoint_of<endpoint_type>(false, ec); }
    endpoint_type local_endpoint() const { return endpoint_of<endpoint_type>(false); }
    endpoint_type remote_endpoint(error_code& ec) const { return endpoint_of<endpoint_type>(true, ec); }
    endpoint_type remote_endpoint() const { return endpoint_of<endpoint_type>(true); }

    /// Gives the descriptor away; the socket is not open any more. Never suspends.
    [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

protected:
    datagram_socket() noexcept = default;
    explicit datagram_socket(unique_fd owned) noexcept : socket{std::move(owned)} {}
    datagram_socket(datagram_socket&&) noexcept = default;
    datagram_socket& operator=(datagram_socket&&) noexcept = default;
    ~datagram_socket() = default;

private:
    void send_parts(std::span<const iovec> from, const endpoint_type* to, error_code& ec);
    datagram_type receive_parts(std::span<const iovec> into, error_code& ec);
};

} // namespace coir::net
