// SPDX-License-Identifier: BSL-1.0
#include "openssl.hpp"

#include <boost/asio/ssl/error.hpp>

#include <openssl/err.h>

namespace coir::net {

error_code take_openssl_error() noexcept
{
    const unsigned long first = ERR_get_error();
    ERR_clear_error();
    if (ERR_SYSTEM_ERROR(first))
        return {ERR_GET_REASON(first), boost::system::system_category()};
    return {static_cast<int>(first), error::get_ssl_category()};
}

std::string text_of(const X509_NAME* name)
{
    const openssl_ptr<BIO> text{BIO_new(BIO_s_mem())};
    if (!name || !text)
        return {};
    // Control characters are escaped; what is not ASCII is UTF-8.
    constexpr unsigned long flags =
        (XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ & ~ASN1_STRFLGS_ESC_MSB) | ASN1_STRFLGS_UTF8_CONVERT;
    X509_NAME_print_ex(text.get(), name, 0, flags);
    char* data = nullptr;
    const auto size = BIO_get_mem_data(text.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

} // namespace coir::net
