// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/socket.hpp>
#include <coir/net/stream.hpp>

#include <cstdint>

namespace coir::net {

/// What tcp_stream and unix_stream have in common: a connection over a socket.
///
/// Two fibers may use one stream at the same time, one for each direction.
template <class Protocol>
class stream_socket : public socket,
                      public readable_stream<stream_socket<Protocol>>,
                      public writable_stream<stream_socket<Protocol>> {
public:
    using protocol_type = Protocol;
    using endpoint_type = typename Protocol::endpoint;
    /// For Asio's layers, such as ssl::stream.
    using lowest_layer_type = stream_socket;
    lowest_layer_type& lowest_layer() noexcept { return *this; }
    const lowest_layer_type& lowest_layer() const noexcept { return *this; }

    /// Never suspends.
    endpoint_type local_endpoint(error_code& ec) const { return endpoint_of<endpoint_type>(false, ec); }
    endpoint_type local_endpoint() const { return endpoint_of<endpoint_type>(false); }
    endpoint_type remote_endpoint(error_code& ec) const { return endpoint_of<endpoint_type>(true, ec); }
    endpoint_type remote_endpoint() const { return endpoint_of<endpoint_type>(true); }

    /// Gives the descriptor away, without O_NONBLOCK; the stream is not open any more. Never suspends.
    [[nodiscard]] unique_fd release() noexcept { return release_blocking(); }

    // For readable_stream and writable_stream.
    std::size_t read_parts(std::span<const iovec> into, error_code& ec);
    std::size_t write_parts(std::span<const iovec> from, error_code& ec);

protected:
    stream_socket() noexcept = default;
    /// The descriptor is a connected socket's. Its flags are left alone and do not matter.
    explicit stream_socket(unique_fd connected) noexcept : socket{std::move(connected)} {}
    stream_socket(stream_socket&&) noexcept = default;
    stream_socket& operator=(stream_socket&&) noexcept = default;
    ~stream_socket() = default;

private:
    /// Where the last read has left nothing: how many arrivals there had been. So the next one may wait for another,
    /// without a system call to find out that there is nothing.
    std::uint64_t emptied_at_ = 0;
};

} // namespace coir::net
