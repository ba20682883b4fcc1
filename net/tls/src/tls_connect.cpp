// SPDX-License-Identifier: BSL-1.0
#include <coir/net/tls_connect.hpp>

namespace coir::net {

namespace {

tls_stream over(tcp_stream&& connection, const host_and_service& target, const tls_context& context)
{
    tls_options options;
    options.host = target.host;
    options.session_key = target.host + ":" + target.service;
    return tls_stream(std::move(connection), context, options);
}

} // namespace

tls_stream tls_connect(std::string_view host_port, const tls_context& context, error_code& ec,
                       const connect_options& options)
{
    const auto target = split_host_port(host_port, ec);
    if (ec.failed())
        return {};
    auto connection = connect(target, ec, options);
    if (ec.failed())
        return {};
    auto stream = over(std::move(connection), target, context);
    stream.handshake(ec);
    return stream;
}

tls_stream tls_connect(std::string_view host_port, const tls_context& context, const connect_options& options)
{
    const auto target = split_host_port(host_port);
    auto stream = over(connect(target, options), target, context);
    stream.handshake();
    return stream;
}

} // namespace coir::net
