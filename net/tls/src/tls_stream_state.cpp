// SPDX-License-Identifier: BSL-1.0
#include "tls_stream_state.hpp"

#include <coir/cancellation.hpp>
#include <coir/deadline.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl/error.hpp>

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace coir::net {

namespace {

/// What one call transfers at most; a record of TLS has as much (RFC 8446, 5.1).
constexpr std::size_t record_max = 16'384;
/// What is encrypted by one write: a few records, so that the stream below gets more than one at a time.
constexpr std::size_t write_max = 4 * record_max;
/// What is read from below at a time: a record with what is around it (RFC 8446, 5.2).
constexpr std::size_t receive_max = record_max + 256 + 5;

const error_code truncated = make_error_code(boost::asio::ssl::error::stream_truncated);

std::optional<std::string> as_address(const std::string& host)
{
    error_code ec;
    const auto address = boost::asio::ip::make_address(host, ec);
    return ec.failed() ? std::nullopt : std::optional{address.to_string()};
}

} // namespace

tls_stream::state::state(std::unique_ptr<tls_transport> stream, std::shared_ptr<tls_context::state> common,
                         const tls_options& options)
    : below{std::move(stream)}, context{std::move(common)}, session_key{options.session_key}
{
    ERR_clear_error();
    if (context->client && context->verify && options.host.empty())
        throw std::invalid_argument{"coir::net::tls_stream: a client that verifies must say whom it wants (host)"};
    ssl.reset(SSL_new(context->context.get()));
    openssl_ptr<BIO> incoming{BIO_new(BIO_s_mem())};
    openssl_ptr<BIO> outgoing{BIO_new(BIO_s_mem())};
    if (!ssl || !incoming || !outgoing)
        throw std::bad_alloc{};
    SSL_set_bio(ssl.get(), in = incoming.release(), out = outgoing.release());
    SSL_set_app_data(ssl.get(), this);
    if (!context->client) {
        SSL_set_accept_state(ssl.get());
        return;
    }
    SSL_set_connect_state(ssl.get());
    if (options.host.empty())
        return;
    // A session that is resumed shows no certificate again, so it must be one with that very host.
    session_key += '\n' + options.host;
    auto* wanted = SSL_get0_param(ssl.get());
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (const auto address = as_address(options.host)) {
        X509_VERIFY_PARAM_set1_ip_asc(wanted, address->c_str()); // and no SNI (RFC 6066, 3)
        return;
    }
    auto name = options.host;
    if (name.ends_with('.'))
        name.pop_back(); // of the root, which certificates do not mention
    if (X509_VERIFY_PARAM_set1_host(wanted, name.c_str(), name.size()) != 1 ||
        SSL_set_tlsext_host_name(ssl.get(), name.c_str()) != 1) {
        ERR_clear_error();
        throw std::invalid_argument{"coir::net::tls_stream: no host name: " + options.host};
    }
}

template <class Call> tls_stream::state::step tls_stream::state::call(Call&& work)
{
    const auto held = lock_engine();
    step result{.error = SSL_ERROR_NONE, .failure = {}, .arrivals = arrivals};
    ERR_clear_error();
    const int returned = work();
    result.error = SSL_get_error(ssl.get(), returned);
    if (result.error == SSL_ERROR_SSL || result.error == SSL_ERROR_SYSCALL)
        result.failure = take_openssl_error();
    return result;
}

error_code tls_stream::state::failure_of(const step& failed) const
{
    if (bad_certificate &&
        ERR_GET_REASON(static_cast<unsigned>(failed.failure.value())) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return bad_certificate->reason;
    return failed.failure.failed() ? failed.failure : truncated;
}

// ---- below ----------------------------------------------------------------------------------------------------------

/// Writes all that has been encrypted; whoever is interrupted leaves the rest for the next. The caller holds `sending`.
void tls_stream::state::drain(error_code& ec)
{
    ec.clear();
    for (;;) {
        while (left < leaving.size()) {
            left += below->write_some(boost::asio::buffer(leaving.data() + left, leaving.size() - left), ec);
            if (ec.failed())
                return;
        }
        left = 0;
        leaving.clear();
        const auto held = lock_engine();
        const auto size = BIO_ctrl_pending(out);
        if (size == 0)
            break;
        leaving.resize(size);
        BIO_read(out, leaving.data(), static_cast<int>(size));
    }
    if (leaving.capacity() > write_max)
        std::vector<std::byte>{}.swap(leaving);
}

void tls_stream::state::flush(error_code& ec)
{
    const std::scoped_lock turn{sending};
    drain(ec);
}

/// For who reads: OpenSSL answers some of what it receives. If somebody is writing, he takes it along; to wait for him
/// would be wrong, because the peer that does not read may wait for us to read.
void tls_stream::state::flush_if_free(error_code& ec)
{
    ec.clear();
    while (has_output() || left < leaving.size()) {
        const std::unique_lock turn{sending, std::try_to_lock};
        if (!turn)
            return;
        drain(ec);
        if (ec.failed())
            return;
    }
}

/// More input, unless there has been some since `seen`.
void tls_stream::state::receive(std::uint64_t seen, error_code& ec)
{
    ec.clear();
    const std::scoped_lock turn{receiving};
    if (arrivals != seen)
        return;
    received.resize(receive_max);
    const auto size = below->read_some(boost::asio::buffer(received), ec);
    if (ec == error::eof)
        ec = truncated;
    if (ec.failed())
        return;
    const auto held = lock_engine();
    if (BIO_write(in, received.data(), static_cast<int>(size)) != static_cast<int>(size))
        ec = error::no_memory;
    ++arrivals;
}

// ---- the handshake --------------------------------------------------------------------------------------------------

int note_failed_certificate(int accepted, X509_STORE_CTX* at) noexcept
{
    if (accepted)
        return accepted;
    const auto* connection = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(at, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* self = static_cast<tls_stream::state*>(SSL_get_app_data(connection));
    try {
        const auto* certificate = X509_STORE_CTX_get_current_cert(at);
        self->bad_certificate = failed_certificate{
            .reason = {X509_STORE_CTX_get_error(at), certificate_category()},
            .depth = X509_STORE_CTX_get_error_depth(at),
            .subject = certificate ? text_of(X509_get_subject_name(certificate)) : std::string{},
            .issuer = certificate ? text_of(X509_get_issuer_name(certificate)) : std::string{},
        };
    } catch (...) {
        // It is not accepted all the same; OpenSSL's own error says why.
    }
    return accepted;
}

int keep_new_session(SSL* connection, SSL_SESSION* session) noexcept
{
    auto* self = static_cast<tls_stream::state*>(SSL_get_app_data(connection));
    if (self->session_key.empty() || !SSL_SESSION_is_resumable(session))
        return 0;
    try {
        SSL_SESSION_up_ref(session);
        self->context->sessions.put(self->session_key, openssl_ptr<SSL_SESSION>{session});
    } catch (...) {
        // The next handshake is a full one, then.
    }
    return 0; // the reference that is offered is OpenSSL's again
}

void tls_stream::state::resume_session()
{
    if (!context->client || session_key.empty() || SSL_get_session(ssl.get()))
        return;
    if (const auto session = context->sessions.take(session_key); session && SSL_SESSION_is_resumable(session.get()))
        SSL_set_session(ssl.get(), session.get());
}

void tls_stream::state::handshake(error_code& ec)
{
    ec.clear();
    if (established)
        return;
    const std::scoped_lock turn{shaking};
    if (!final_failure.failed() && SSL_in_before(ssl.get())) {
        const auto held = lock_engine();
        resume_session();
    }
    while (!established) {
        if (final_failure.failed()) {
            ec = final_failure;
            return;
        }
        const auto now = call([this] { return SSL_do_handshake(ssl.get()); });
        error_code not_sent;
        if (now.error == SSL_ERROR_NONE) {
            established = true;
            flush(ec);
            return;
        }
        flush(not_sent);
        if (now.error != SSL_ERROR_WANT_READ) {
            final_failure = failure_of(now);
            continue;
        }
        // A peer that has hung up may have said why before.
        receive(now.arrivals, ec);
        if (ec.failed())
            final_failure = not_sent.failed() ? not_sent : ec;
    }
    ec.clear();
}

// ---- reading and writing --------------------------------------------------------------------------------------------

std::size_t tls_stream::state::read(std::span<const iovec> into, error_code& ec)
{
    handshake(ec);
    while (!ec.failed()) {
        std::size_t size = 0;
        const auto now = call([&] {
            int result = 1;
            for (const auto& part : into) {
                std::size_t done = 0;
                if (part.iov_len == 0)
                    continue;
                if (size > 0 && SSL_pending(ssl.get()) == 0)
                    break;
                result = SSL_read_ex(ssl.get(), part.iov_base, part.iov_len, &done);
                size += done;
                if (result != 1 || done < part.iov_len)
                    break;
            }
            return size > 0 ? 1 : result;
        });
        try {
            error_code not_sent; // whoever writes next is told
            flush_if_free(not_sent);
        } catch (const cancelled&) {
            if (now.error !=
                SSL_ERROR_NONE) // otherwise something has been read, and this comes with the next wait again
                throw;
        }
        switch (now.error) {
        case SSL_ERROR_NONE: return size;
        case SSL_ERROR_WANT_READ: receive(now.arrivals, ec); break;
        case SSL_ERROR_ZERO_RETURN: ec = error::eof; break;
        default: ec = failure_of(now); break;
        }
    }
    return 0;
}

std::size_t tls_stream::state::write(std::span<const iovec> from, error_code& ec)
{
    handshake(ec);
    if (!ec.failed())
        flush(ec); // what somebody was cut off from
    if (ec.failed())
        return 0;

    // Many small parts make one record, not many.
    std::array<std::byte, record_max> gathered;
    boost::asio::const_buffer plain;
    const auto first = std::ranges::find_if(from, [](const iovec& each) { return each.iov_len > 0; });
    if (first == from.end())
        return 0;
    if (std::next(first) == from.end() || first->iov_len >= record_max) {
        plain = boost::asio::buffer(first->iov_base, std::min(first->iov_len, write_max));
    } else {
        std::size_t size = 0;
        for (auto part = first; part != from.end() && size < gathered.size(); ++part)
            size += boost::asio::buffer_copy(boost::asio::buffer(gathered) + size,
                                             boost::asio::buffer(part->iov_base, part->iov_len));
        plain = boost::asio::buffer(gathered.data(), size);
    }

    std::size_t accepted = 0;
    for (;;) {
        const auto now = call([&] {
            int result = 1;
            while (accepted < plain.size() && result == 1) {
                std::size_t done = 0;
                const auto rest = plain + accepted;
                result = SSL_write_ex(ssl.get(), rest.data(), rest.size(), &done);
                accepted += done;
            }
            return accepted > 0 ? 1 : result;
        });
        if (now.error == SSL_ERROR_NONE)
            break;
        if (now.error != SSL_ERROR_WANT_READ) {
            ec = failure_of(now);
            return 0;
        }
        receive(now.arrivals, ec);
        if (ec.failed())
            return 0;
    }
    // Now it cannot be taken back, so an interruption must not say that nothing was written. It comes with the next
    // wait again.
    try {
        flush(ec);
    } catch (const cancelled&) {
    }
    return ec.failed() ? 0 : accepted;
}

void tls_stream::state::shutdown_send(error_code& ec)
{
    if (!established) {
        ec = error::not_connected;
        return;
    }
    bool heard = false;
    const auto now = call([&] {
        const int so_far = SSL_get_shutdown(ssl.get());
        heard = so_far & SSL_RECEIVED_SHUTDOWN;
        const int result = so_far & SSL_SENT_SHUTDOWN ? 1 : SSL_shutdown(ssl.get());
        return result >= 0 ? 1 : result;
    });
    if (now.error != SSL_ERROR_NONE) {
        ec = failure_of(now);
        return;
    }
    flush(ec);
    if (heard) // the peer may be gone, and does not have to wait for us
        ec.clear();
}

void tls_stream::state::shutdown(error_code& ec)
{
    shutdown_send(ec);
    std::array<std::byte, 4096> dropped;
    const iovec into{dropped.data(), dropped.size()};
    while (!ec.failed())
        read({&into, 1}, ec);
    if (ec == error::eof)
        ec.clear();
}

} // namespace coir::net
