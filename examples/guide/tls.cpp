// SPDX-License-Identifier: BSL-1.0
//
// The second half of docs/guide/names-and-tls.md. tls CERTIFICATE KEY: for localhost, signed by itself.
#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/tls_connect.hpp>
#include <coir/net/tls_listener.hpp>
#include <coir/runtime.hpp>

#include <cstdio>
#include <memory>
#include <string>

using namespace std::chrono_literals;

namespace {

void echo(coir::net::tls_stream& peer)
{
    std::string line;
    for (;;) {
        boost::system::error_code ec;
        const auto size = peer.read_until(line, "\n", 1000, ec); // the first one shakes hands
        if (ec.failed())
            break;
        peer.write("you said " + line.substr(0, size));
        line.erase(0, size);
    }
    const coir::timeout limit{1s};
    boost::system::error_code ec;
    peer.shutdown(ec);
}

void serve(coir::net::tls_listener& listener)
{
    coir::fiber_group connections;
    for (;;) {
        auto peer = std::make_shared<coir::net::tls_stream>(listener.accept());
        connections.spawn([peer] { echo(*peer); });
    }
}

void talk(const std::string& target, const coir::net::tls_context& context)
{
    const coir::timeout limit{5s}; // for all of it: name, connection, handshake, answer
    auto stream = coir::net::tls_connect(target, context);
    stream.write("hello\n");
    std::string answer;
    stream.read_until(answer, "\n");
    std::printf("%s%s", answer.c_str(), stream.resumed() ? "and we have met before\n" : "");
    stream.shutdown();
}

void distrust(const std::string& target)
{
    try {
        coir::net::tls_connect(target, coir::net::tls_context::client());
    } catch (const coir::net::certificate_error& failure) {
        const auto& which = failure.certificate();
        if (which.reason == coir::net::certificate_errc::self_signed)
            std::printf("%s has signed its certificate itself\n", which.subject.c_str());
    }
}

} // namespace

int main(int, char** arguments)
{
    const std::string certificate = arguments[1];
    const std::string key = arguments[2];
    coir::run([&] {
        const auto servers =
            coir::net::tls_context::server({.certificate_chain = certificate, .private_key = key, .alpn = {"echo"}});
        const auto clients = coir::net::tls_context::client({.authorities = certificate, .alpn = {"echo"}});

        coir::net::tls_listener listener{coir::net::tcp_listener{{coir::net::make_address("127.0.0.1"), 0}}, servers};
        const auto target = "localhost:" + std::to_string(listener.local_endpoint().port());
        coir::fiber server{[&] { serve(listener); }};
        talk(target, clients);
        talk(target, clients);
        distrust(target);
        server.cancel();
    });
}
