// SPDX-License-Identifier: BSL-1.0
#pragma once
// Connections of the test's own, over loopback.
#include <coir/net/tcp_listener.hpp>
#include <coir/net/tcp_stream.hpp>

inline coir::net::tcp_endpoint loopback(unsigned short port = 0)
{
    return {boost::asio::ip::address_v4::loopback(), port};
}

/// The two ends of one TCP connection.
struct tcp_pair {
    coir::net::tcp_stream ours;
    coir::net::tcp_stream theirs;

    tcp_pair()
    {
        coir::net::tcp_listener listener{loopback()};
        ours = coir::net::tcp_stream::connect(listener.local_endpoint());
        theirs = listener.accept();
    }
};
