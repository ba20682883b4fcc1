// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

struct ssl_ctx_st; // OpenSSL's SSL_CTX

namespace coir::net {

enum class tls_version { tls_1_2, tls_1_3 };

/// In the options, `pem` is the name of a file with PEM blocks, or their text, which begins with "-----BEGIN".
using pem = std::string;

struct tls_client_options {
    /// Whom to trust; empty: whom the system trusts (Debian's package ca-certificates; SSL_CERT_FILE and SSL_CERT_DIR
    /// in the environment override it, see SSL_CTX_set_default_verify_paths(3)).
    pem authorities{};
    /// False accepts any certificate of anybody: the connection is then encrypted, and nobody knows with whom.
    bool verify = true;
    pem certificate_chain{}; ///< our own, for servers that ask for one, and those that sign it
    pem private_key{};
    std::vector<std::string> alpn{}; ///< protocols we speak, the best first: {"h2", "http/1.1"} (RFC 7301)
    tls_version version_min = tls_version::tls_1_2;
    std::size_t sessions_max = 1'000; ///< servers whose sessions are kept for resumption; 0: none
};

/// What a server wants of its clients.
enum class client_certificates {
    ignored,  ///< does not ask for one
    accepted, ///< asks, and checks it if there is one
    required, ///< no connection without
};

struct tls_server_options {
    pem certificate_chain; ///< the server's certificate first, then those that sign it
    pem private_key;
    client_certificates clients = client_certificates::ignored;
    pem client_authorities{};        ///< who may sign clients' certificates
    std::vector<std::string> alpn{}; ///< protocols we speak, the best first; our order counts
    tls_version version_min = tls_version::tls_1_2;
};

/// What many TLS connections have in common: certificates, whom to trust, sessions to resume. Make one and keep it.
///
///     const auto context = coir::net::tls_context::client();
///     auto stream = coir::net::tls_connect("example.org:443", context);
///
/// A client verifies its servers unless it is told otherwise. The minimum is TLS 1.2; there is no renegotiation and no
/// compression. Sessions are resumed by tickets.
///
/// Any thread and any fiber may use one. Connections keep what they need of it. Making one reads files, and so may
/// block the thread for a moment.
class tls_context {
public:
    /// Throw std::system_error, which names the file: it is missing, is not PEM, the key is not the certificate's ...
    static tls_context client(const tls_client_options& options = {});
    static tls_context server(const tls_server_options& options);

    bool is_client() const noexcept;
    /// OpenSSL's, for what is not offered here. Before the first connection.
    ssl_ctx_st* native_handle() const noexcept;
    /// Sessions that wait to be resumed.
    std::size_t session_count() const;

    struct state;

private:
    friend class tls_stream;
    explicit tls_context(std::shared_ptr<state> made) noexcept : state_{std::move(made)} {}
    std::shared_ptr<state> state_;
};

} // namespace coir::net
