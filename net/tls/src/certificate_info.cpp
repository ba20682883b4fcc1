// SPDX-License-Identifier: BSL-1.0
// What a certificate says, in words.
#include "certificate_info.hpp"

#include "openssl.hpp"

#include <boost/asio/ip/address.hpp>

#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

namespace coir::net {

namespace {

std::chrono::sys_seconds time_of(const ASN1_TIME* time)
{
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return {};
    return std::chrono::sys_seconds{std::chrono::seconds{::timegm(&parts)}};
}

std::string text_of(const ASN1_STRING* text)
{
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
            static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::vector<std::string> names_in(const X509* certificate)
{
    std::vector<std::string> names;
    const openssl_ptr<GENERAL_NAMES> all{
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
    for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
        int type = 0;
        const auto* value =
            static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), i), &type));
        if (type == GEN_DNS) {
            names.push_back(text_of(value));
        } else if (type == GEN_IPADD) {
            const auto bytes = text_of(value);
            if (boost::asio::ip::address_v4::bytes_type four; bytes.size() == four.size()) {
                std::ranges::copy(bytes, four.begin());
                names.push_back(boost::asio::ip::address_v4{four}.to_string());
            } else if (boost::asio::ip::address_v6::bytes_type six; bytes.size() == six.size()) {
                std::ranges::copy(bytes, six.begin());
                names.push_back(boost::asio::ip::address_v6{six}.to_string());
            }
        }
    }
    return names;
}

} // namespace

certificate_info info_of(const X509& certificate)
{
    return {
        .subject = text_of(X509_get_subject_name(&certificate)),
        .issuer = text_of(X509_get_issuer_name(&certificate)),
        .not_before = time_of(X509_get0_notBefore(&certificate)),
        .not_after = time_of(X509_get0_notAfter(&certificate)),
        .names = names_in(&certificate),
    };
}

} // namespace coir::net
