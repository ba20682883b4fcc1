// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/descriptor.hpp>
#include <coir/net/error.hpp>

#include <sys/socket.h>

#include <boost/asio/socket_base.hpp>

namespace coir::net {

/// What sockets of all kinds have in common. Asio's names for options and directions are members: `socket::keep_alive`,
/// `socket::shutdown_send`.
class socket : public descriptor, public boost::asio::socket_base {
public:
    /// Any option of Asio's: boost::asio::ip::tcp::no_delay{true}, socket::receive_buffer_size{65536}. Never suspends.
    template <class Option> void set_option(const Option& option, error_code& ec)
    {
        const protocol_of of{native_handle()};
        set_raw_option(option.level(of), option.name(of), option.data(of), static_cast<socklen_t>(option.size(of)), ec);
    }
    template <class Option> void set_option(const Option& option)
    {
        error_code ec;
        set_option(option, ec);
        throw_if(ec, "coir::net: set_option");
    }

    /// Fills in `option`, whose value then is the socket's. Never suspends.
    template <class Option> void get_option(Option& option, error_code& ec) const
    {
        const protocol_of of{native_handle()};
        auto size = static_cast<socklen_t>(option.size(of));
        get_raw_option(option.level(of), option.name(of), option.data(of), size, ec);
        if (!ec.failed())
            option.resize(of, size);
    }
    template <class Option> void get_option(Option& option) const
    {
        error_code ec;
        get_option(option, ec);
        throw_if(ec, "coir::net: get_option");
    }

    /// `shutdown_send`: the peer reads the end of the stream, and we go on reading. Never suspends.
    void shutdown(shutdown_type how, error_code& ec) noexcept;
    void shutdown(shutdown_type how);

protected:
    socket() noexcept = default;
    explicit socket(unique_fd owned) noexcept : descriptor{std::move(owned)} {}
    socket(socket&&) noexcept = default;
    socket& operator=(socket&&) noexcept = default;
    ~socket() = default;

    /// Gives the descriptor away, without O_NONBLOCK.
    unique_fd release_blocking() noexcept;

    template <class Endpoint> Endpoint endpoint_of(bool peer, error_code& ec) const
    {
        Endpoint result;
        auto size = static_cast<socklen_t>(result.capacity());
        get_name(peer, result.data(), size, ec);
        if (ec.failed())
            return {};
        result.resize(size);
        return result;
    }
    template <class Endpoint> Endpoint endpoint_of(bool peer) const
    {
        error_code ec;
        auto result = endpoint_of<Endpoint>(peer, ec);
        throw_if(ec, peer ? "coir::net: remote_endpoint" : "coir::net: local_endpoint");
        return result;
    }

private:
    /// The protocol, for options whose number depends on it. The kernel is asked only then.
    struct protocol_of {
        int descriptor;
        int family() const noexcept;
    };
    void set_raw_option(int level, int name, const void* value, socklen_t size, error_code& ec) noexcept;
    void get_raw_option(int level, int name, void* value, socklen_t& size, error_code& ec) const noexcept;
    void get_name(bool peer, sockaddr* name, socklen_t& size, error_code& ec) const noexcept;
};

} // namespace coir::net
