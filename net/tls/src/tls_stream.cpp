// SPDX-License-Identifier: BSL-1.0
// What a program sees of a TLS connection; the work is tls_stream_state.cpp's.
#include "certificate_info.hpp"
#include "tls_stream_state.hpp"

#include <coir/net/descriptor.hpp>

namespace coir::net {

tls_stream::tls_stream() noexcept = default;
tls_stream::tls_stream(tls_stream&&) noexcept = default;
tls_stream& tls_stream::operator=(tls_stream&&) noexcept = default;
tls_stream::~tls_stream() = default;

tls_stream::tls_stream(std::unique_ptr<tls_transport> below, const tls_context& context, const tls_options& options)
    : state_{std::make_unique<state>(std::move(below), context.state_, options)}
{
}

namespace {

/// False, with an error, if there is no stream at all.
bool exists(const auto& state, error_code& ec)
{
    if (!state)
        ec = error::bad_descriptor;
    return state != nullptr;
}

} // namespace

void tls_stream::handshake(error_code& ec)
{
    if (exists(state_, ec))
        state_->handshake(ec);
}

void tls_stream::handshake()
{
    error_code ec;
    handshake(ec);
    if (const auto& which = certificate_failure(); which && ec == which->reason)
        throw certificate_error{"coir::net: TLS handshake", *which};
    throw_if(ec, "coir::net: TLS handshake");
}

const std::optional<failed_certificate>& tls_stream::certificate_failure() const noexcept
{
    static const std::optional<failed_certificate> none;
    return state_ ? state_->bad_certificate : none;
}

std::size_t tls_stream::read_parts(std::span<const iovec> into, error_code& ec)
{
    return exists(state_, ec) ? state_->read(into, ec) : 0;
}

std::size_t tls_stream::write_parts(std::span<const iovec> from, error_code& ec)
{
    return exists(state_, ec) ? state_->write(from, ec) : 0;
}

void tls_stream::shutdown_send(error_code& ec)
{
    if (exists(state_, ec))
        state_->shutdown_send(ec);
}

void tls_stream::shutdown_send()
{
    error_code ec;
    shutdown_send(ec);
    throw_if(ec, "coir::net: TLS shutdown_send");
}

void tls_stream::shutdown(error_code& ec)
{
    if (exists(state_, ec))
        state_->shutdown(ec);
}

void tls_stream::shutdown()
{
    error_code ec;
    shutdown(ec);
    throw_if(ec, "coir::net: TLS shutdown");
}

void tls_stream::close(error_code& ec) noexcept
{
    ec.clear();
    if (state_)
        state_->below->close(ec);
}

void tls_stream::close()
{
    error_code ec;
    close(ec);
    throw_if(ec, "coir::net: close");
}

bool tls_stream::is_open() const noexcept
{
    return state_ && state_->below->is_open();
}

tls_transport* tls_stream::transport() const noexcept
{
    return state_ ? state_->below.get() : nullptr;
}

ssl_st* tls_stream::native_handle() const noexcept
{
    return state_ ? state_->ssl.get() : nullptr;
}

tls_stream::executor_type tls_stream::get_executor() const
{
    return descriptor::get_executor();
}

void teardown(boost::beast::role_type, tls_stream& stream, error_code& ec)
{
    stream.shutdown(ec);
    error_code unsaid;
    stream.close(ec.failed() ? unsaid : ec); // after both goodbyes nothing is under way that it could cut off
}

// ---- what was agreed upon -------------------------------------------------------------------------------------------

namespace {

std::string string_of(const char* text)
{
    return text ? text : "";
}

} // namespace

std::string tls_stream::version() const
{
    return state_ ? string_of(SSL_get_version(state_->ssl.get())) : std::string{};
}

std::string tls_stream::cipher() const
{
    return state_ ? string_of(SSL_get_cipher_name(state_->ssl.get())) : std::string{};
}

std::string tls_stream::alpn() const
{
    const unsigned char* name = nullptr;
    unsigned size = 0;
    if (state_)
        SSL_get0_alpn_selected(state_->ssl.get(), &name, &size);
    return {reinterpret_cast<const char*>(name), size};
}

bool tls_stream::resumed() const noexcept
{
    return state_ && SSL_session_reused(state_->ssl.get()) == 1;
}

std::string tls_stream::server_name() const
{
    return state_ ? string_of(SSL_get_servername(state_->ssl.get(), TLSEXT_NAMETYPE_host_name)) : std::string{};
}

std::optional<certificate_info> tls_stream::peer_certificate() const
{
    const openssl_ptr<X509> certificate{state_ ? SSL_get1_peer_certificate(state_->ssl.get()) : nullptr};
    return certificate ? std::optional{info_of(*certificate)} : std::nullopt;
}

} // namespace coir::net
