// SPDX-License-Identifier: BSL-1.0
// use_fiber over descriptors: sockets, TLS, a serial port.
#include <doctest/doctest.h>

#include <coir/deadline.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/runtime.hpp>
#include <coir/use_fiber.hpp>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <fcntl.h>
#include <stdlib.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/serial_port.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace coir;
using namespace std::chrono_literals;
using boost::system::error_code;

namespace {

std::string_view text(const auto& data, std::size_t size)
{
    return {data.data(), size};
}

/// A key and a certificate for it, signed by itself, that a server shows.
void use_own_certificate(asio::ssl::context& context)
{
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{EVP_EC_gen("P-256"), &EVP_PKEY_free};
    const std::unique_ptr<X509, decltype(&X509_free)> certificate{X509_new(), &X509_free};
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
    X509_set_pubkey(certificate.get(), key.get());
    auto* const name = X509_get_subject_name(certificate.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1,
                               0);
    X509_set_issuer_name(certificate.get(), name);
    REQUIRE(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
    REQUIRE(SSL_CTX_use_certificate(context.native_handle(), certificate.get()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(context.native_handle(), key.get()) == 1);
}

/// Two ends of a connection.
struct connection {
    explicit connection(auto&& executor_or_context) : ours{executor_or_context}, theirs{executor_or_context}
    {
        asio::local::connect_pair(ours, theirs);
    }
    asio::local::stream_protocol::socket ours;
    asio::local::stream_protocol::socket theirs;
};

} // namespace

TEST_SUITE_BEGIN("asio_io");

TEST_CASE("an echo server and its clients over TCP") {
    coir::run([] {
        auto& context = this_hub_io_context();
        tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
        fiber server{[&] {
            fiber_group clients;
            for (int i = 0; i < 5; ++i)
                clients.spawn([socket = acceptor.async_accept(use_fiber)]() mutable {
                    std::array<char, 100> data;
                    for (;;) {
                        error_code error;
                        const auto size = socket.async_read_some(asio::buffer(data), use_fiber[error]);
                        if (error == asio::error::eof)
                            return;
                        REQUIRE(!error);
                        asio::async_write(socket, asio::buffer(data, size), use_fiber);
                    }
                });
            clients.join();
        }};
        fiber_group clients;
        for (int i = 0; i < 5; ++i)
            clients.spawn([&] {
                tcp::socket socket{context};
                tcp::resolver resolver{context};
                const auto port = std::to_string(acceptor.local_endpoint().port());
                asio::async_connect(socket, resolver.async_resolve("127.0.0.1", port, use_fiber), use_fiber);
                for (int k = 0; k < 20; ++k) {
                    asio::async_write(socket, asio::buffer("hello\n", 6), use_fiber);
                    asio::streambuf line;
                    CHECK(asio::async_read_until(socket, line, '\n', use_fiber) == 6);
                }
            });
        clients.join();
        server.join();
    });
}

TEST_CASE("a connection that is refused, one that is reset") {
    coir::run([] {
        auto& context = this_hub_io_context();
        tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
        const auto endpoint = acceptor.local_endpoint();
        tcp::socket socket{context};
        socket.async_connect(endpoint, use_fiber);
        auto theirs = acceptor.async_accept(use_fiber);
        theirs.set_option(tcp::socket::linger{true, 0});
        theirs.close();
        char byte;
        error_code error;
        CHECK(socket.async_read_some(asio::buffer(&byte, 1), use_fiber[error]) == 0);
        CHECK(error == asio::error::connection_reset);

        acceptor.close();
        tcp::socket another{context};
        try {
            another.async_connect(endpoint, use_fiber);
            FAIL("connected");
        } catch (const std::system_error& refused) {
            CHECK(refused.code() == std::errc::connection_refused);
        }
    });
}

TEST_CASE("datagrams, with the endpoint they came from") {
    coir::run([] {
        auto& context = this_hub_io_context();
        using asio::ip::udp;
        udp::socket one{context, {asio::ip::address_v4::loopback(), 0}};
        udp::socket two{context, {asio::ip::address_v4::loopback(), 0}};
        fiber sender{[&] { one.async_send_to(asio::buffer("ping", 4), two.local_endpoint(), use_fiber); }};
        std::array<char, 100> data;
        udp::endpoint from;
        CHECK(text(data, two.async_receive_from(asio::buffer(data), from, use_fiber)) == "ping");
        CHECK(from == one.local_endpoint());
    });
}

TEST_CASE("a read that a timeout cuts off leaves the socket as it was") {
    coir::run([] {
        connection pair{this_hub_io_context()};
        std::array<char, 100> data;
        for (int i = 0; i < 3; ++i) {
            timeout limit{1ms};
            CHECK_THROWS_AS(pair.ours.async_read_some(asio::buffer(data), use_fiber), timed_out);
        }
        {
            timeout limit{1ms};
            CHECK_THROWS_AS(asio::async_read(pair.ours, asio::buffer(data), use_fiber), timed_out);
        }
        asio::async_write(pair.theirs, asio::buffer("late", 4), use_fiber);
        CHECK(text(data, pair.ours.async_read_some(asio::buffer(data), use_fiber)) == "late");
    });
}

TEST_CASE("sockets of a pool: bytes cross from its threads to the fibers") {
    asio::thread_pool pool{2};
    coir::run({.hubs = 2}, [&] {
        fiber_group group;
        for (int i = 0; i < 4; ++i)
            group.spawn({.on = placement::any_hub}, [&] {
                connection pair{asio::make_strand(pool)};
                fiber echo{[&] {
                    std::array<char, 10> data;
                    for (error_code error; !error;) {
                        const auto size = pair.theirs.async_read_some(asio::buffer(data), use_fiber[error]);
                        if (!error)
                            asio::async_write(pair.theirs, asio::buffer(data, size), use_fiber);
                    }
                }};
                std::array<char, 1000> sent;
                std::array<char, 1000> received{};
                sent.fill('x');
                fiber writer{[&] { asio::async_write(pair.ours, asio::buffer(sent), use_fiber); }};
                CHECK(asio::async_read(pair.ours, asio::buffer(received), use_fiber) == sent.size());
                CHECK(received == sent);
                writer.join();
                pair.ours.shutdown(asio::socket_base::shutdown_send);
                echo.join();
            });
        group.join();
    });
    pool.join();
}

TEST_CASE("TLS: handshake, data and shutdown, both ends in fibers") {
    coir::run([] {
        asio::ssl::context server_context{asio::ssl::context::tls_server};
        use_own_certificate(server_context);
        asio::ssl::context client_context{asio::ssl::context::tls_client};
        connection pair{this_hub_io_context()};
        asio::ssl::stream<asio::local::stream_protocol::socket&> server{pair.theirs, server_context};
        asio::ssl::stream<asio::local::stream_protocol::socket&> client{pair.ours, client_context};

        fiber other_end{[&] {
            server.async_handshake(asio::ssl::stream_base::server, use_fiber);
            std::array<char, 1000> data;
            const auto size = server.async_read_some(asio::buffer(data), use_fiber);
            asio::async_write(server, asio::buffer(data, size), use_fiber);
            error_code error;
            server.async_read_some(asio::buffer(data), use_fiber[error]);
            CHECK(error == asio::error::eof);
            server.async_shutdown(use_fiber);
        }};
        client.async_handshake(asio::ssl::stream_base::client, use_fiber);
        const std::string sent(1000, 'x');
        std::string received(1000, ' ');
        asio::async_write(client, asio::buffer(sent), use_fiber);
        asio::async_read(client, asio::buffer(received), use_fiber);
        CHECK(received == sent);
        client.async_shutdown(use_fiber);
        other_end.join();
    });
}

TEST_CASE("TLS: a certificate that is not trusted is an error, and a peer that says nothing a timeout") {
    coir::run([] {
        asio::ssl::context server_context{asio::ssl::context::tls_server};
        use_own_certificate(server_context);
        asio::ssl::context client_context{asio::ssl::context::tls_client};
        client_context.set_verify_mode(asio::ssl::verify_peer);
        connection pair{this_hub_io_context()};
        asio::ssl::stream<asio::local::stream_protocol::socket&> server{pair.theirs, server_context};
        asio::ssl::stream<asio::local::stream_protocol::socket&> client{pair.ours, client_context};
        {
            timeout limit{1ms};
            CHECK_THROWS_AS(server.async_handshake(asio::ssl::stream_base::server, use_fiber), timed_out);
        }
        asio::ssl::stream<asio::local::stream_protocol::socket&> again{pair.theirs, server_context};
        fiber other_end{[&] {
            error_code error;
            again.async_handshake(asio::ssl::stream_base::server, use_fiber[error]);
            CHECK(error);
        }};
        try {
            client.async_handshake(asio::ssl::stream_base::client, use_fiber);
            FAIL("trusted");
        } catch (const std::system_error& error) {
            CHECK(std::string{error.what()}.find("certificate verify failed") != std::string::npos);
        }
        other_end.join();
    });
}

TEST_CASE("a serial port over a pseudo terminal") {
    coir::run([] {
        auto& context = this_hub_io_context();
        const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        REQUIRE(master >= 0);
        REQUIRE(::grantpt(master) == 0);
        REQUIRE(::unlockpt(master) == 0);
        asio::posix::stream_descriptor modem{context, master};
        asio::serial_port port{context, ::ptsname(master)};
        port.set_option(asio::serial_port::baud_rate{9600});

        fiber answering{[&] {
            asio::streambuf line;
            asio::async_read_until(modem, line, '\r', use_fiber);
            asio::async_write(modem, asio::buffer("OK\r", 3), use_fiber);
        }};
        asio::async_write(port, asio::buffer("ATZ\r", 4), use_fiber);
        std::string answer(3, ' ');
        asio::async_read(port, asio::buffer(answer), use_fiber);
        CHECK(answer == "OK\r");
    });
}

TEST_SUITE_END();
