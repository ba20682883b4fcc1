// SPDX-License-Identifier: BSL-1.0
//
// The first half of docs/guide/names-and-tls.md.
#include <coir/fiber_group.hpp>
#include <coir/net/connect.hpp>
#include <coir/net/resolver.hpp>
#include <coir/net/tcp_listener.hpp>
#include <coir/runtime.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

namespace {

void look_up()
{
    coir::net::resolver names{{.ttl = 30s, .negative_ttl = 5s}};
    const auto found = names.resolve({.host = "localhost", .service = "https", .family = AF_INET});
    for (const auto& endpoint : found.endpoints)
        std::printf("localhost is %s, https is %u\n", endpoint.address().to_string().c_str(), endpoint.port());

    const auto known = names.names_of({coir::net::make_address("127.0.0.1"), 80});
    std::printf("127.0.0.1 is %s, 80 is %s\n", known.host.c_str(), known.service.c_str());

    boost::system::error_code ec;
    names.resolve("127.0.0.1", "no-such-service", ec);
    if (ec == boost::asio::error::service_not_found)
        std::printf("there is no such service\n");
}

void one_question()
{
    coir::net::resolver names;
    coir::fiber_group asking;
    for (int i = 0; i < 10; ++i)
        asking.spawn([&] { names.resolve("localhost", "80"); });
    asking.join();
    const auto counts = names.count();
    std::printf("%zu questions, most of them answered by the way\n", counts.looked_up + counts.shared);
}

void connect()
{
    coir::net::tcp_listener listener{{coir::net::make_address("127.0.0.1"), 0}};
    const auto target = "localhost:" + std::to_string(listener.local_endpoint().port());

    auto stream = coir::net::connect(target, {.attempt_delay = 100ms});
    std::printf("connected to %s\n", stream.remote_endpoint().address().to_string().c_str());

    listener.close();
    try {
        coir::net::connect(target);
    } catch (const coir::net::connect_error& failure) {
        if (failure.code() == std::errc::connection_refused)
            std::printf("refused, and so has every other address\n");
        for (const auto& [endpoint, why] : failure.attempts())
            static_cast<void>(endpoint); // each with its own reason
    }
}

} // namespace

int main()
{
    coir::run([] {
        look_up();
        one_question();
        connect();
    });
}
