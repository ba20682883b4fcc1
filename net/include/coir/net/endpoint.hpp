// SPDX-License-Identifier: BSL-1.0
#pragma once
// Endpoints and addresses are Asio's, and so is their parsing: make_address("::1").
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/local/datagram_protocol.hpp>
#include <boost/asio/local/stream_protocol.hpp>

namespace coir::net {

using boost::asio::ip::address;
using boost::asio::ip::make_address;

using tcp_endpoint = boost::asio::ip::tcp::endpoint;
using udp_endpoint = boost::asio::ip::udp::endpoint;
/// A path; with a leading 0 a name in Linux's abstract namespace (unix(7)).
using unix_endpoint = boost::asio::local::stream_protocol::endpoint;
using unix_datagram_endpoint = boost::asio::local::datagram_protocol::endpoint;

} // namespace coir::net
