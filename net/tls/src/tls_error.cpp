// SPDX-License-Identifier: BSL-1.0
#include <coir/net/tls_error.hpp>

#include <boost/asio/ssl/error.hpp>

#include <openssl/x509_vfy.h>

namespace coir::net {

static_assert(static_cast<int>(certificate_errc::not_yet_valid) == X509_V_ERR_CERT_NOT_YET_VALID);
static_assert(static_cast<int>(certificate_errc::expired) == X509_V_ERR_CERT_HAS_EXPIRED);
static_assert(static_cast<int>(certificate_errc::self_signed) == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
static_assert(static_cast<int>(certificate_errc::self_signed_in_chain) == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
static_assert(static_cast<int>(certificate_errc::unknown_issuer) == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
static_assert(static_cast<int>(certificate_errc::unverifiable) == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE);
static_assert(static_cast<int>(certificate_errc::revoked) == X509_V_ERR_CERT_REVOKED);
static_assert(static_cast<int>(certificate_errc::wrong_purpose) == X509_V_ERR_INVALID_PURPOSE);
static_assert(static_cast<int>(certificate_errc::other_host) == X509_V_ERR_HOSTNAME_MISMATCH);
static_assert(static_cast<int>(certificate_errc::other_address) == X509_V_ERR_IP_ADDRESS_MISMATCH);

namespace {

class category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "coir.certificate"; }
    std::string message(int value) const override { return X509_verify_cert_error_string(value); }
};

std::string text_of(const std::string& operation, const failed_certificate& which)
{
    std::string text = operation + ": the certificate";
    if (!which.subject.empty())
        text +=
            " of '" + which.subject + "', issued by '" + which.issuer + "', at depth " + std::to_string(which.depth);
    return text;
}

} // namespace

const boost::system::error_category& certificate_category() noexcept
{
    static const category only;
    return only;
}

bool is_truncated(const error_code& code) noexcept
{
    return code == make_error_code(boost::asio::ssl::error::stream_truncated);
}

bool is_truncated(const std::error_code& code) noexcept
{
    return code == static_cast<std::error_code>(make_error_code(boost::asio::ssl::error::stream_truncated));
}

certificate_error::certificate_error(const std::string& operation, failed_certificate which)
    : std::system_error{which.reason, text_of(operation, which)}, which_{std::move(which)}
{
}

} // namespace coir::net
