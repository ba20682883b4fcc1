// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/tls_stream.hpp>

#include <openssl/x509.h>

namespace coir::net {

certificate_info info_of(const X509& certificate);

} // namespace coir::net
