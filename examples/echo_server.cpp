// SPDX-License-Identifier: BSL-1.0
//
// echo_server [PORT]: sends back what it is sent, to as many clients as come. Ends in order on Ctrl-C: who talks may
// finish.
#include <coir/net/serve.hpp>
#include <coir/net/signal.hpp>
#include <coir/runtime.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

void echo(coir::net::tcp_stream client)
{
    std::array<char, 4096> data;
    coir::net::error_code ec;
    for (;;) {
        const auto size = client.read_some(data, ec);
        if (coir::net::is_eof(ec))
            return;
        coir::net::throw_if(ec, "read");
        client.write(std::string_view{data.data(), size});
    }
}

} // namespace

int main(int count, char** arguments)
{
    const auto port = static_cast<unsigned short>(count > 1 ? std::atoi(arguments[1]) : 0);
    coir::run([&] {
        coir::net::tcp_listener listener{{coir::net::make_address("127.0.0.1"), port}};
        coir::net::stop_on_signal ending;
        std::printf("listening on port %u\n", listener.local_endpoint().port());
        std::fflush(stdout);
        const auto report = coir::net::serve(
            listener, echo,
            {.connections_max = 10'000, .idle_max = std::chrono::minutes{5}, .stop = ending.get_token()});
        std::printf("%llu connections\n", static_cast<unsigned long long>(report.accepted));
    });
}
