// SPDX-License-Identifier: BSL-1.0
#pragma once
// OpenSSL's objects with owners, and its errors.
#include <coir/net/error.hpp>

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace coir::net {

struct openssl_delete {
    void operator()(SSL_CTX* each) const noexcept { SSL_CTX_free(each); }
    void operator()(SSL* each) const noexcept { SSL_free(each); }
    void operator()(SSL_SESSION* each) const noexcept { SSL_SESSION_free(each); }
    void operator()(BIO* each) const noexcept { BIO_free_all(each); }
    void operator()(X509* each) const noexcept { X509_free(each); }
    void operator()(EVP_PKEY* each) const noexcept { EVP_PKEY_free(each); }
    void operator()(GENERAL_NAMES* each) const noexcept { GENERAL_NAMES_free(each); }
};
template <class T> using openssl_ptr = std::unique_ptr<T, openssl_delete>;

/// Takes the first error out of the calling thread's queue, which is the cause of the others, and empties it. The queue
/// is the thread's and not the fiber's (unless the patch is there): so from `ERR_clear_error` before a call of
/// OpenSSL's until here, nothing may suspend.
error_code take_openssl_error() noexcept;

/// "CN=example.org, O=Example".
std::string text_of(const X509_NAME* name);

} // namespace coir::net
