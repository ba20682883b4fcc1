// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/stream.hpp>
#include <coir/net/tls_context.hpp>
#include <coir/net/tls_error.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/role.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

struct ssl_st; // OpenSSL's SSL

namespace coir::net {

/// The stream below a TLS stream, whatever its type.
class tls_transport {
public:
    tls_transport() = default;
    tls_transport(const tls_transport&) = delete;
    tls_transport& operator=(const tls_transport&) = delete;
    virtual ~tls_transport() = default;

    virtual std::size_t read_some(boost::asio::mutable_buffer into, error_code& ec) = 0;
    virtual std::size_t write_some(boost::asio::const_buffer from, error_code& ec) = 0;
    virtual void close(error_code& ec) = 0;
    virtual bool is_open() const noexcept = 0;
};

template <class Stream> class tls_transport_of final : public tls_transport {
public:
    explicit tls_transport_of(Stream&& below) : stream{std::move(below)} {}

    std::size_t read_some(boost::asio::mutable_buffer into, error_code& ec) override
    {
        return stream.read_some(into, ec);
    }
    std::size_t write_some(boost::asio::const_buffer from, error_code& ec) override
    {
        return stream.write_some(from, ec);
    }
    void close(error_code& ec) override { stream.close(ec); }
    bool is_open() const noexcept override { return stream.is_open(); }

    Stream stream;
};

struct tls_options {
    /// Client: whom we want to talk to, a name or an address in figures. Goes to the server (SNI, RFC 6066) if it is a
    /// name, and must be in its certificate.
    std::string host{};
    /// Client: sessions are resumed among connections to the same host with the same key, such as its port.
    std::string session_key{};
};

/// What a certificate says. Times are UTC.
struct certificate_info {
    std::string subject; ///< "CN=example.org"
    std::string issuer;
    std::chrono::sys_seconds not_before;
    std::chrono::sys_seconds not_after;
    std::vector<std::string> names; ///< and addresses for which it is: "example.org", "*.example.org", "192.0.2.1"
};

/// TLS over any stream, which it owns: a tcp_stream, a unix_stream, another tls_stream.
///
///     coir::net::tls_stream stream{coir::net::connect("example.org:443"), context, {.host = "example.org"}};
///     stream.write("GET / HTTP/1.0\r\n\r\n");
///
/// It is a stream as the others (stream.hpp). The handshake takes place with the first thing that is read or written,
/// or with `handshake`: so a server's is the business of the fiber that serves the connection. The end of the stream
/// is error::eof only if the peer has said so; a connection that just breaks off is told apart, see `is_truncated`.
///
/// Fibers of one hub may use one object at the same time: one reads, another writes, any may close it. A write that a
/// cancellation or a deadline cuts off has either not begun, or counts as done: then its rest goes out before whatever
/// is written next, or with `shutdown`. So the stream remains usable.
class tls_stream : public readable_stream<tls_stream>, public writable_stream<tls_stream> {
public:
    using executor_type = boost::asio::any_io_executor; ///< for Asio's and Beast's layers

    tls_stream() noexcept;
    /// Never suspends. Throws std::invalid_argument if a client that verifies does not say whom it wants.
    template <class Stream>
        requires(!std::is_convertible_v<Stream, std::unique_ptr<tls_transport>>)
    tls_stream(Stream below, const tls_context& context, const tls_options& options = {})
        : tls_stream{std::make_unique<tls_transport_of<Stream>>(std::move(below)), context, options}
    {
    }
    tls_stream(std::unique_ptr<tls_transport> below, const tls_context& context, const tls_options& options = {});
    tls_stream(tls_stream&&) noexcept;
    tls_stream& operator=(tls_stream&&) noexcept;
    /// Closes the stream below, without a goodbye: it must not wait. See `shutdown`.
    ~tls_stream();

    /// Suspends until both sides agree, which they do once; afterwards it does nothing. Who was cut off may go on with
    /// another call. Fails with certificate_errc, with an error of OpenSSL's, with those of the stream below; a peer
    /// that hangs up is `is_truncated`. A failure is final. The second form throws certificate_error where a
    /// certificate is the reason. Throws `cancelled`, `timed_out`.
    void handshake(error_code& ec);
    void handshake();
    /// What was the matter, after an error of certificate_category.
    const std::optional<failed_certificate>& certificate_failure() const noexcept;

    /// Tells the peer that nothing more will be written (close_notify); reading goes on. Suspends, fails and throws as
    /// writing.
    void shutdown_send(error_code& ec);
    void shutdown_send();
    /// The same, and waits until the peer has said it too, dropping what it still sends: give it a `timeout`. Then both
    /// know that nothing is missing. Fails with `is_truncated` where the peer does not say goodbye; many do not.
    void shutdown(error_code& ec);
    void shutdown();
    /// Closes the stream below at once; who reads or writes is woken with error::bad_descriptor. Never suspends.
    void close(error_code& ec) noexcept;
    void close();
    bool is_open() const noexcept;
    explicit operator bool() const noexcept { return is_open(); }

    // After the handshake. None of these suspends.

    /// "TLSv1.3", and "TLS_AES_256_GCM_SHA384".
    std::string version() const;
    std::string cipher() const;
    /// The protocol that was agreed upon by ALPN; empty if none was.
    std::string alpn() const;
    /// Whether an earlier session was resumed, without certificates being exchanged again.
    bool resumed() const noexcept;
    /// Server: the name the client wants (SNI), also while the handshake is not complete; empty if it did not say.
    std::string server_name() const;
    /// The peer's; nothing if it has none.
    std::optional<certificate_info> peer_certificate() const;

    /// OpenSSL's, for what is not offered here. It does its input and output in memory. Not while another fiber is in a
    /// call.
    ssl_st* native_handle() const noexcept;
    /// The stream below, if it is of that type: for its endpoints and options.
    template <class Stream> Stream* below() const noexcept
    {
        auto* found = dynamic_cast<tls_transport_of<Stream>*>(transport());
        return found ? &found->stream : nullptr;
    }

    executor_type get_executor() const;

    // For readable_stream and writable_stream.
    std::size_t read_parts(std::span<const iovec> into, error_code& ec);
    std::size_t write_parts(std::span<const iovec> from, error_code& ec);

    struct state;

private:
    tls_transport* transport() const noexcept;
    std::unique_ptr<state> state_;
};

/// For Beast's WebSocket: how the connection below ends. Suspends until the peer has said goodbye, too, and closes it.
/// `ec` is the shutdown's error, or else that of closing.
void teardown(boost::beast::role_type role, tls_stream& stream, error_code& ec);

} // namespace coir::net
