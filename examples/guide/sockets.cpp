// SPDX-License-Identifier: BSL-1.0
//
// The code of docs/guide/sockets.md.
#include <coir/deadline.hpp>
#include <coir/fiber.hpp>
#include <coir/net/buffered_reader.hpp>
#include <coir/net/buffered_writer.hpp>
#include <coir/net/serve.hpp>
#include <coir/net/udp_socket.hpp>
#include <coir/runtime.hpp>

#include <array>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;
namespace net = coir::net;

namespace {

void answer(net::tcp_stream client)
{
    net::buffered_reader lines{client};
    net::buffered_writer output{client};
    while (const auto line = lines.read_line()) {
        output.write("you said ");
        output.write(*line + "\n");
        output.flush();
    }
}

void talk()
{
    net::tcp_listener listener{{net::make_address("127.0.0.1"), 0}};
    const auto at = listener.local_endpoint();

    std::stop_source stop;
    coir::fiber server{
        [&] { net::serve(listener, answer, {.connections_max = 100, .idle_max = 30s, .stop = stop.get_token()}); }};

    auto stream = net::tcp_stream::connect(at);
    stream.write("hello\n");
    std::string text;
    const auto size = stream.read_until(text, "\n");
    std::printf("%s", text.substr(0, size).c_str());

    {
        const coir::timeout limit{10ms};
        try {
            char data[100];
            stream.read_some(data);
        } catch (const coir::timed_out&) {
            std::printf("nothing more within 10 ms\n");
        }
    }

    stream.shutdown(net::socket::shutdown_send);
    net::error_code ec;
    char data[100];
    stream.read_some(data, ec);
    if (net::is_eof(ec))
        std::printf("and that was all\n");

    stop.request_stop();
    server.join();
}

void datagrams()
{
    net::udp_socket one{{net::make_address("127.0.0.1"), 0}};
    net::udp_socket two{{net::make_address("127.0.0.1"), 0}};
    one.send_to("a datagram that does not fit", two.local_endpoint());
    std::array<char, 10> data;
    const auto received = two.receive_from(data);
    if (received.truncated())
        std::printf("%zu bytes of %zu\n", received.size, received.full_size);
}

} // namespace

int main()
{
    coir::run([] {
        talk();
        datagrams();
    });
}
