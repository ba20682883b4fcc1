// SPDX-License-Identifier: BSL-1.0
#pragma once
// What can go wrong with TLS beside what goes wrong with streams. Errors of the protocol have OpenSSL's numbers and
// Asio's category (boost::asio::error::get_ssl_category()); a certificate that is not accepted has a category of its
// own.
#include <coir/net/error.hpp>

#include <string>
#include <system_error>
#include <type_traits>

namespace coir::net {

/// Why a certificate was not accepted. The values are OpenSSL's X509_V_ERR_* (X509_STORE_CTX_get_error(3)); there are
/// more of them than have a name here, and all of them have a message.
enum class certificate_errc {
    not_yet_valid = 9,
    expired = 10,
    self_signed = 18,          ///< the certificate itself, and nobody said to trust it
    self_signed_in_chain = 19, ///< it leads to an authority that is not trusted
    unknown_issuer = 20,       ///< whoever signed it is neither trusted nor was sent along
    unverifiable = 21,         ///< it came alone, and is not trusted
    revoked = 23,
    wrong_purpose = 26, ///< of a client where a server's is needed, or the other way round
    other_host = 62,    ///< it is for other names
    other_address = 64, ///< it is for other addresses
};

const boost::system::error_category& certificate_category() noexcept;

inline error_code make_error_code(certificate_errc code) noexcept
{
    return {static_cast<int>(code), certificate_category()};
}

/// Whether the peer, or somebody in between, has cut the connection without saying goodbye (close_notify): what came
/// may not be all. It is boost::asio::ssl::error::stream_truncated.
bool is_truncated(const error_code& code) noexcept;
bool is_truncated(const std::error_code& code) noexcept;

/// The certificate that was not accepted.
struct failed_certificate {
    error_code reason;   ///< of certificate_category
    int depth = 0;       ///< 0: the peer's own; 1: of who has signed that; ...
    std::string subject; ///< whose it is: "CN=example.org"; empty if there is none
    std::string issuer;  ///< who has signed it
};

/// What a handshake throws that has not accepted a certificate. `what` says whose it is and what is the matter.
class certificate_error : public std::system_error {
public:
    certificate_error(const std::string& operation, failed_certificate which);
    const failed_certificate& certificate() const noexcept { return which_; }

private:
    failed_certificate which_;
};

} // namespace coir::net

template <> struct boost::system::is_error_code_enum<coir::net::certificate_errc> : std::true_type {};
