// SPDX-License-Identifier: BSL-1.0
#pragma once
// Beast's WebSocket over any stream.
#include <coir/fiber.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>

/// Two messages to a server that sends them back, and a goodbye; afterwards the streams are torn down.
template <class Stream> void talk_websocket(Stream ours, Stream theirs)
{
    coir::fiber server{[&] {
        boost::beast::websocket::stream<Stream> socket{std::move(theirs)};
        socket.accept();
        boost::beast::flat_buffer buffer;
        for (;;) {
            boost::system::error_code ec;
            socket.read(buffer, ec);
            if (ec == boost::beast::websocket::error::closed)
                break;
            REQUIRE_FALSE(ec.failed());
            socket.text(socket.got_text());
            socket.write(buffer.data());
            buffer.consume(buffer.size());
        }
    }};
    boost::beast::websocket::stream<Stream> socket{std::move(ours)};
    socket.handshake("localhost", "/");
    for (const std::string text : {"hello", "again"}) {
        socket.write(boost::asio::buffer(text));
        boost::beast::flat_buffer buffer;
        socket.read(buffer);
        CHECK(boost::beast::buffers_to_string(buffer.data()) == text);
    }
    socket.close(boost::beast::websocket::close_code::normal);
    CHECK_FALSE(socket.next_layer().is_open()); // torn down
    server.join();
}
