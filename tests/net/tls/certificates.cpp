// SPDX-License-Identifier: BSL-1.0
#include "certificates.hpp"

#include <doctest/doctest.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

namespace certificates {

namespace {

struct free_it {
    void operator()(X509* each) const noexcept { X509_free(each); }
    void operator()(EVP_PKEY* each) const noexcept { EVP_PKEY_free(each); }
    void operator()(BIO* each) const noexcept { BIO_free_all(each); }
    void operator()(X509_EXTENSION* each) const noexcept { X509_EXTENSION_free(each); }
};
template <class T> using owned = std::unique_ptr<T, free_it>;

std::string text_in(BIO* memory)
{
    char* data = nullptr;
    const auto size = BIO_get_mem_data(memory, &data);
    return {data, static_cast<std::size_t>(size)};
}

owned<BIO> reader(const std::string& text)
{
    return owned<BIO>{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

void extend(X509* certificate, X509* signer, int kind, const std::string& value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, signer, certificate, nullptr, nullptr, 0);
    const owned<X509_EXTENSION> extension{X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str())};
    REQUIRE(extension != nullptr);
    X509_add_ext(certificate, extension.get(), -1);
}

} // namespace

identity make(const contents& what, const identity* signer)
{
    const owned<EVP_PKEY> key{EVP_EC_gen("P-256")};
    const owned<X509> certificate{X509_new()};
    owned<X509> issuer;
    owned<EVP_PKEY> signing;
    if (signer) {
        issuer.reset(PEM_read_bio_X509(reader(signer->certificate).get(), nullptr, nullptr, nullptr));
        signing.reset(PEM_read_bio_PrivateKey(reader(signer->key).get(), nullptr, nullptr, nullptr));
    }
    auto* const itself = certificate.get();
    static long serial = 1000;
    X509_set_version(itself, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(itself), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(itself), what.begins.count());
    X509_gmtime_adj(X509_getm_notAfter(itself), what.ends.count());
    X509_set_pubkey(itself, key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(itself), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(what.common_name.c_str()), -1, -1, 0);
    auto* const above = issuer ? issuer.get() : itself;
    X509_set_issuer_name(itself, X509_get_subject_name(above));
    extend(itself, above, NID_basic_constraints, what.signs ? "critical,CA:TRUE" : "critical,CA:FALSE");
    std::string names;
    for (const auto& each : what.names)
        names += (names.empty() ? "" : ",") + each;
    if (!names.empty())
        extend(itself, above, NID_subject_alt_name, names);
    REQUIRE(X509_sign(itself, signing ? signing.get() : key.get(), EVP_sha256()) > 0);

    const owned<BIO> text{BIO_new(BIO_s_mem())};
    const owned<BIO> key_text{BIO_new(BIO_s_mem())};
    PEM_write_bio_X509(text.get(), itself);
    PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    // A signer that somebody else has signed goes along.
    std::string chain = text_in(text.get());
    if (issuer && X509_check_issued(issuer.get(), issuer.get()) != X509_V_OK)
        chain += signer->certificate;
    return {chain, text_in(key_text.get())};
}

const family& good()
{
    static const family all;
    return all;
}

} // namespace certificates
