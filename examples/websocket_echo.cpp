// SPDX-License-Identifier: BSL-1.0
//
// Boost.Beast's WebSocket as it is, over coir's streams: its synchronous functions suspend the fiber. A server that
// sends every message back, and a client that tries it.
//
//     websocket_echo serve 8080
//     websocket_echo ask 127.0.0.1:8080 hello "and once more"
#include <coir/cancel_scope.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/connect.hpp>
#include <coir/net/signal.hpp>
#include <coir/net/tcp_listener.hpp>
#include <coir/runtime.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>

#include <charconv>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace coir::net;
namespace beast = boost::beast;
using websocket = beast::websocket::stream<tcp_stream>;

namespace {

/// A client, until it closes or fails.
void serve(tcp_stream peer)
{
    error_code ec;
    websocket talk{std::move(peer)};
    talk.read_message_max(1 << 20);
    talk.accept(ec); // the handshake
    while (!ec) {
        beast::flat_buffer message;
        talk.read(message, ec);
        if (ec)
            break;
        talk.text(talk.got_text());
        talk.write(message.data(), ec);
    }
}

void serve_all(unsigned short port)
{
    tcp_listener listener{{make_address("127.0.0.1"), port}};
    std::cout << "listening on " << listener.local_endpoint() << std::endl;
    stop_on_signal ending;
    coir::fiber_group clients;
    coir::cancel_scope accepting{ending.get_token()};
    accepting.run([&] {
        for (;;)
            clients.spawn(serve, listener.accept());
    });
    clients.cancel();
    clients.join();
}

void ask(const std::string& server, const std::vector<std::string>& messages)
{
    websocket talk{connect(server)};
    talk.handshake(server, "/");
    for (const auto& message : messages) {
        talk.write(boost::asio::buffer(message));
        beast::flat_buffer answer;
        talk.read(answer);
        std::cout << beast::buffers_to_string(answer.data()) << std::endl;
    }
    talk.close(beast::websocket::close_code::normal);
}

int usage()
{
    std::cerr << "websocket_echo serve PORT\nwebsocket_echo ask HOST:PORT MESSAGE...\n";
    return 2;
}

} // namespace

int main(int argc, char** argv)
{
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() < 2)
        return usage();
    try {
        if (arguments[0] == "serve") {
            unsigned short port = 0;
            const auto& text = arguments[1];
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
            if (error != std::errc{} || end != text.data() + text.size())
                return usage();
            coir::run([&] { serve_all(port); });
        } else if (arguments[0] == "ask") {
            coir::run([&] { ask(arguments[1], {arguments.begin() + 2, arguments.end()}); });
        } else {
            return usage();
        }
    } catch (const std::exception& error) {
        std::cerr << "websocket_echo: " << error.what() << std::endl;
        return 1;
    }
}
