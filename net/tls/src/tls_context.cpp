// SPDX-License-Identifier: BSL-1.0
#include "tls_context_state.hpp"

#include <coir/net/tls_error.hpp>

#include <openssl/err.h>
#include <openssl/pem.h>

#include <limits>
#include <stdexcept>
#include <string_view>

namespace coir::net {

namespace {

[[noreturn]] void throw_openssl_error(const std::string& what)
{
    throw std::system_error{take_openssl_error(), "coir::net::tls_context: " + what};
}

void must(bool done, const std::string& what)
{
    if (!done)
        throw_openssl_error(what);
}

// ---- PEM ------------------------------------------------------------------------------------------------------------

/// The blocks of a file, or of a text.
class pem_source {
public:
    explicit pem_source(const pem& from)
        : name_{is_text(from) ? "PEM text" : from},
          blocks_{is_text(from) ? BIO_new_mem_buf(from.data(), static_cast<int>(from.size()))
                                : BIO_new_file(from.c_str(), "r")}
    {
        must(blocks_ != nullptr, name_);
    }

    const std::string& name() const noexcept { return name_; }
    BIO* get() const noexcept { return blocks_.get(); }

    openssl_ptr<X509> first_certificate() const
    {
        openssl_ptr<X509> found{PEM_read_bio_X509_AUX(get(), nullptr, nullptr, nullptr)};
        must(found != nullptr, name_);
        return found;
    }
    /// Null at the end.
    openssl_ptr<X509> next_certificate() const
    {
        openssl_ptr<X509> found{PEM_read_bio_X509(get(), nullptr, nullptr, nullptr)};
        if (!found) {
            const auto why = ERR_peek_last_error();
            must(ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE, name_);
            ERR_clear_error();
        }
        return found;
    }

private:
    static bool is_text(const pem& from) noexcept { return from.starts_with("-----BEGIN"); }

    std::string name_;
    openssl_ptr<BIO> blocks_;
};

/// A private key that is encrypted is an error, and not a question on the terminal.
int no_passphrase(char*, int, int, void*) noexcept
{
    return -1;
}

void use_certificate(SSL_CTX* context, const pem& chain, const pem& key)
{
    const pem_source certificates{chain};
    const auto own = certificates.first_certificate();
    must(SSL_CTX_use_certificate(context, own.get()) == 1, certificates.name());
    SSL_CTX_clear_chain_certs(context);
    while (auto signer = certificates.next_certificate()) {
        must(SSL_CTX_add0_chain_cert(context, signer.get()) == 1, certificates.name());
        static_cast<void>(signer.release()); // the context's now
    }
    const pem_source keys{key};
    const openssl_ptr<EVP_PKEY> private_key{PEM_read_bio_PrivateKey(keys.get(), nullptr, no_passphrase, nullptr)};
    must(private_key != nullptr, keys.name());
    must(SSL_CTX_use_PrivateKey(context, private_key.get()) == 1, keys.name());
    must(SSL_CTX_check_private_key(context) == 1, keys.name());
}

void trust(SSL_CTX* context, const pem& authorities, bool announce)
{
    const pem_source from{authorities};
    auto* store = SSL_CTX_get_cert_store(context);
    for (auto each = from.first_certificate(); each; each = from.next_certificate()) {
        must(X509_STORE_add_cert(store, each.get()) == 1, from.name());
        if (announce)
            must(SSL_CTX_add_client_CA(context, each.get()) == 1, from.name());
    }
}

// ---- what both sides have in common ---------------------------------------------------------------------------------

std::string alpn_list(const std::vector<std::string>& protocols)
{
    std::string list;
    for (const auto& each : protocols) {
        if (each.empty() || each.size() > std::numeric_limits<unsigned char>::max()) // RFC 7301, 3.1
            throw std::invalid_argument{"coir::net::tls_context: an ALPN name has 1 to 255 bytes"};
        list += static_cast<char>(each.size());
        list += each;
    }
    return list;
}

const unsigned char* bytes(const std::string& text) noexcept
{
    return reinterpret_cast<const unsigned char*>(text.data());
}

void prepare(SSL_CTX* context, tls_version version_min)
{
    must(context != nullptr, "SSL_CTX_new");
    must(SSL_CTX_set_min_proto_version(context,
                                       version_min == tls_version::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1,
         "the minimum version");
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    // A connection that waits keeps no buffers of 16 KiB.
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/// The first of ours that is also theirs. RFC 7301, 3.2: with nothing in common there is no connection.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* theirs,
                    unsigned theirs_size, void* ours) noexcept
{
    const auto& list = *static_cast<const std::string*>(ours);
    unsigned char* found = nullptr;
    if (SSL_select_next_proto(&found, size, bytes(list), static_cast<unsigned>(list.size()), theirs, theirs_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

/// Any name will do: who serves looks at it. Unless it is accepted, OpenSSL does not keep it with a session of TLS 1.2.
int accept_name(SSL* connection, int*, void*) noexcept
{
    return SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

} // namespace

// ---- the context ----------------------------------------------------------------------------------------------------

tls_context tls_context::client(const tls_client_options& options)
{
    ERR_clear_error();
    auto made = std::make_shared<state>(true, options.sessions_max);
    made->context.reset(SSL_CTX_new(TLS_client_method()));
    auto* context = made->context.get();
    prepare(context, options.version_min);
    made->verify = options.verify;
    SSL_CTX_set_verify(context, options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       options.verify ? note_failed_certificate : nullptr);
    if (!options.authorities.empty())
        trust(context, options.authorities, false);
    else
        must(SSL_CTX_set_default_verify_paths(context) == 1, "the system's authorities");
    if (!options.certificate_chain.empty())
        use_certificate(context, options.certificate_chain, options.private_key);
    made->alpn = alpn_list(options.alpn);
    if (!made->alpn.empty())
        must(SSL_CTX_set_alpn_protos(context, bytes(made->alpn), static_cast<unsigned>(made->alpn.size())) == 0,
             "ALPN");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_new_session);
    return tls_context{std::move(made)};
}

tls_context tls_context::server(const tls_server_options& options)
{
    ERR_clear_error();
    auto made = std::make_shared<state>(false, 0);
    made->context.reset(SSL_CTX_new(TLS_server_method()));
    auto* context = made->context.get();
    prepare(context, options.version_min);
    use_certificate(context, options.certificate_chain, options.private_key);
    made->verify = options.clients != client_certificates::ignored;
    if (made->verify) {
        const int required = options.clients == client_certificates::required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | required, note_failed_certificate);
        trust(context, options.client_authorities, true);
    }
    made->alpn = alpn_list(options.alpn);
    if (!made->alpn.empty())
        SSL_CTX_set_alpn_select_cb(context, choose_protocol, &made->alpn);
    SSL_CTX_set_tlsext_servername_callback(context, accept_name);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    // Sessions are in tickets, which the clients keep (RFC 5077; RFC 8446, 4.6.1).
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    // Without it, sessions of clients that have shown a certificate cannot be resumed.
    constexpr unsigned char sessions_of[] = "coir";
    SSL_CTX_set_session_id_context(context, sessions_of, sizeof sessions_of - 1);
    return tls_context{std::move(made)};
}

bool tls_context::is_client() const noexcept
{
    return state_->client;
}

ssl_ctx_st* tls_context::native_handle() const noexcept
{
    return state_->context.get();
}

std::size_t tls_context::session_count() const
{
    return state_->sessions.size();
}

} // namespace coir::net
