// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/connect.hpp>
#include <coir/net/tls_stream.hpp>

#include <string_view>

namespace coir::net {

/// `connect`, and the handshake: the server has shown a certificate for the host of `host_port`. Sessions are resumed
/// among connections of the same context to the same host and port. Suspends, fails and throws as those two.
///
///     coir::timeout limit{5s};
///     auto stream = coir::net::tls_connect("example.org:443", context);
tls_stream tls_connect(std::string_view host_port, const tls_context& context, error_code& ec,
                       const connect_options& options = {});
tls_stream tls_connect(std::string_view host_port, const tls_context& context, const connect_options& options = {});

} // namespace coir::net
