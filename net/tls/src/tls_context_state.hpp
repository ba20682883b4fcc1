// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "openssl.hpp"
#include "session_cache.hpp"

#include <coir/net/tls_context.hpp>

namespace coir::net {

struct tls_context::state {
    bool client = false;
    bool verify = true;
    std::string alpn{}; ///< as it is sent: each name behind its length
    session_cache sessions{0};
    openssl_ptr<SSL_CTX> context{};

    state(bool is_client, std::size_t sessions_max) : client{is_client}, sessions{sessions_max} {}
};

/// What happens in OpenSSL's callbacks; in tls_stream_state.cpp.
int note_failed_certificate(int accepted, X509_STORE_CTX* at) noexcept;
int keep_new_session(SSL* connection, SSL_SESSION* session) noexcept;

} // namespace coir::net
