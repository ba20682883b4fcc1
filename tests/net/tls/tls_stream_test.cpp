// SPDX-License-Identifier: BSL-1.0
// Both sides are ours here; tls_peers_test.cpp has those of others.
#include "certificates.hpp"
#include "loopback.hpp"

#include <coir/net/tls_connect.hpp>
#include <coir/net/tls_listener.hpp>
#include <coir/net/unix_stream.hpp>

#include <coir/auto_reset_event.hpp>
#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using certificates::good;
using coir::net::certificate_errc;
using coir::net::client_certificates;
using coir::net::error_code;
using coir::net::is_truncated;
using coir::net::tcp_listener;
using coir::net::tcp_stream;
using coir::net::tls_client_options;
using coir::net::tls_context;
using coir::net::tls_options;
using coir::net::tls_server_options;
using coir::net::tls_stream;
using coir::net::tls_version;
namespace error = coir::net::error;

namespace {

tls_server_options server_options(const certificates::identity& who = good().server)
{
    return {.certificate_chain = who.certificate, .private_key = who.key};
}

tls_client_options client_options()
{
    return {.authorities = good().authority.certificate};
}

/// A client and a server that have not shaken hands yet.
struct tls_pair {
    tls_stream client;
    tls_stream server;

    explicit tls_pair(const tls_context& clients, const tls_context& servers, const std::string& host = "localhost")
    {
        tcp_pair below;
        client = tls_stream{std::move(below.ours), clients, {.host = host}};
        server = tls_stream{std::move(below.theirs), servers};
    }
    explicit tls_pair(const tls_client_options& clients = client_options(),
                      const tls_server_options& servers = server_options())
        : tls_pair{tls_context::client(clients), tls_context::server(servers)}
    {
    }

    struct outcome {
        error_code client;
        error_code server;
    };
    /// Both at the same time. Who fails leaves.
    outcome shake_hands()
    {
        outcome result;
        coir::fiber other{[&] {
            server.handshake(result.server);
            if (result.server.failed())
                server.close();
        }};
        client.handshake(result.client);
        if (result.client.failed())
            client.close();
        other.join();
        return result;
    }
};

std::string read_all(tls_stream& from, error_code& ec)
{
    std::string all;
    std::array<char, 5000> part;
    for (ec.clear(); !ec.failed();)
        all.append(part.data(), from.read_some(part, ec));
    return all;
}

/// Bytes at which one can see where they belong.
std::string pattern(std::size_t size)
{
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>('a' + (i / 7 + i) % 26);
    return text;
}

/// A byte at a time, in both directions.
class drip {
public:
    explicit drip(tcp_stream below) : below_{std::move(below)} {}
    std::size_t read_some(boost::asio::mutable_buffer into, error_code& ec)
    {
        return below_.read_some(boost::asio::buffer(into, 1), ec);
    }
    std::size_t write_some(boost::asio::const_buffer from, error_code& ec)
    {
        return below_.write_some(boost::asio::buffer(from, 1), ec);
    }
    void close(error_code& ec) { below_.close(ec); }
    bool is_open() const noexcept { return below_.is_open(); }

private:
    tcp_stream below_;
};

} // namespace

// ---- the plain course -----------------------------------------------------------------------------------------------

TEST_CASE("a client and a server shake hands with the first read and write, and talk") {
    coir::run([] {
        tls_pair pair;
        coir::fiber server{[&] {
            std::string text;
            const auto size = pair.server.read_until(text, "\n");
            pair.server.write("you said " + text.substr(0, size));
            pair.server.shutdown();
        }};
        pair.client.write("hello\n");
        error_code ec;
        CHECK(read_all(pair.client, ec) == "you said hello\n");
        CHECK(ec == error::eof);
        pair.client.shutdown();
        server.join();
        CHECK(pair.client.version() == "TLSv1.3");
        CHECK(pair.client.cipher() == pair.server.cipher());
        CHECK(pair.server.server_name() == "localhost");
        CHECK(pair.client.alpn().empty());
        CHECK_FALSE(pair.client.resumed());
        CHECK_FALSE(pair.server.peer_certificate());
        const auto certificate = pair.client.peer_certificate();
        REQUIRE(certificate);
        CHECK(certificate->subject == "CN=localhost");
        CHECK(certificate->issuer == "CN=Test Root");
        CHECK(certificate->names == std::vector<std::string>{"localhost", "127.0.0.1"});
        CHECK(certificate->not_after - certificate->not_before == 25h);
        CHECK(pair.client.below<tcp_stream>()->remote_endpoint() == pair.server.below<tcp_stream>()->local_endpoint());
        CHECK(pair.client.below<coir::net::unix_stream>() == nullptr);
    });
}

TEST_CASE("TLS goes over any stream: a Unix socket, a byte at a time, itself") {
    const auto clients = tls_context::client(client_options());
    const auto servers = tls_context::server(server_options());
    const auto talk = [](tls_stream client, tls_stream server) {
        const auto text = pattern(3'000);
        coir::fiber echo{[&] {
            std::string heard(text.size(), '\0');
            server.read(heard);
            server.write(heard);
            server.shutdown();
        }};
        client.write(text);
        error_code ec;
        CHECK(read_all(client, ec) == text);
        CHECK(ec == error::eof);
        client.shutdown();
        echo.join();
    };
    const tls_options localhost{.host = "localhost"};
    coir::run([&] {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        talk({coir::net::unix_stream{coir::net::unique_fd{ends[0]}}, clients, localhost},
             {coir::net::unix_stream{coir::net::unique_fd{ends[1]}}, servers});
        tcp_pair below;
        talk({drip{std::move(below.ours)}, clients, localhost}, {drip{std::move(below.theirs)}, servers});
        tcp_pair twice;
        talk({tls_stream{std::move(twice.ours), clients, localhost}, clients, localhost},
             {tls_stream{std::move(twice.theirs), servers}, servers});
    });
}

TEST_CASE("TLS works on plain threads") {
    tcp_pair below;
    std::thread server{[&] {
        tls_stream stream{std::move(below.theirs), tls_context::server(server_options())};
        std::string text;
        stream.read_until(text, "\n");
        stream.write(text);
        stream.shutdown();
    }};
    tls_stream stream{std::move(below.ours), tls_context::client(client_options()), {.host = "localhost"}};
    stream.write("hello\n");
    error_code ec;
    CHECK(read_all(stream, ec) == "hello\n");
    CHECK(ec == error::eof);
    stream.shutdown();
    server.join();
}

TEST_CASE("Asio's algorithms take a TLS stream as they take theirs") {
    coir::run([] {
        tls_pair pair;
        coir::fiber server{[&] { boost::asio::write(pair.server, boost::asio::buffer("one\ntwo\n", 8)); }};
        std::string text;
        CHECK(boost::asio::read_until(pair.client, boost::asio::dynamic_buffer(text), "two\n") == 8);
        CHECK(text == "one\ntwo\n");
        server.join();
    });
}

TEST_CASE("many small buffers are one record, and large ones are filled in turn") {
    coir::run([] {
        tls_pair pair;
        const auto large = pattern(100'000);
        coir::fiber server{[&] {
            const std::array<boost::asio::const_buffer, 3> small{
                boost::asio::buffer("a", 1), boost::asio::const_buffer{}, boost::asio::buffer("bcd", 3)};
            pair.server.write(small);
            pair.server.write(large);
            pair.server.shutdown();
        }};
        char first = 0;
        char rest[10];
        const std::array<boost::asio::mutable_buffer, 2> into{boost::asio::buffer(&first, 1),
                                                              boost::asio::buffer(rest)};
        CHECK(pair.client.read_some(into) == 4);
        CHECK(std::string{first} + std::string(rest, 3) == "abcd");
        error_code ec;
        CHECK(read_all(pair.client, ec) == large);
        pair.client.shutdown();
        server.join();
    });
}

TEST_CASE("two fibers read and write one stream at the same time, on both sides") {
    const auto sent = pattern(4'000'000);
    coir::run([&] {
        tls_pair pair;
        coir::fiber_group all;
        const auto talk = [&](tls_stream& stream) {
            all.spawn([&] {
                stream.write(sent);
                // Both sides ask for new keys in the middle of it all: who reads has to answer.
                SSL_key_update(stream.native_handle(), SSL_KEY_UPDATE_REQUESTED);
                stream.write(sent);
                stream.shutdown_send();
            });
            all.spawn([&] {
                error_code ec;
                CHECK(read_all(stream, ec) == sent + sent);
                CHECK(ec == error::eof);
            });
        };
        talk(pair.client);
        talk(pair.server);
        all.join();
    });
}

TEST_CASE("a stream that is closed wakes who reads from it") {
    coir::run([] {
        tls_pair pair;
        pair.shake_hands();
        coir::event reading;
        coir::fiber reader{[&] {
            error_code ec;
            char byte;
            reading.set();
            pair.client.read_some(boost::asio::buffer(&byte, 1), ec);
            CHECK(ec == error::bad_descriptor);
        }};
        reading.wait();
        coir::this_fiber::yield();
        pair.client.close();
        reader.join();
        CHECK_FALSE(pair.client.is_open());
        tls_stream none;
        error_code ec;
        none.write_some("x", ec);
        CHECK(ec == error::bad_descriptor);
    });
}

// ---- certificates ---------------------------------------------------------------------------------------------------

TEST_CASE("a certificate that is not good enough is refused, with its name and the reason") {
    const auto server_with = [](certificates::contents what, const certificates::identity* signer) {
        if (what.common_name.empty())
            what.common_name = "localhost";
        if (what.names.empty())
            what.names = {"DNS:localhost"};
        return certificates::make(what, signer);
    };
    const auto stranger = certificates::make({.common_name = "Nobody's Root", .signs = true});
    const auto between =
        certificates::make({.common_name = "Between", .ends = -1min, .signs = true}, &good().authority);
    const auto* root = &good().authority;
    struct {
        const char* what;
        certificates::identity server;
        std::string host;
        certificate_errc reason;
        int depth;
        std::string message;
    } const cases[] = {
        {"expired", server_with({.ends = -1min}, root), "localhost", certificate_errc::expired, 0,
         "coir::net: TLS handshake: the certificate of 'CN=localhost', issued by 'CN=Test Root', at depth 0: "
         "certificate "
         "has expired"},
        {"not yet", server_with({.begins = 1h}, root), "localhost", certificate_errc::not_yet_valid, 0,
         "coir::net: TLS handshake: the certificate of 'CN=localhost', issued by 'CN=Test Root', at depth 0: "
         "certificate "
         "is not yet valid"},
        {"self-signed", server_with({}, nullptr), "localhost", certificate_errc::self_signed, 0,
         "coir::net: TLS handshake: the certificate of 'CN=localhost', issued by 'CN=localhost', at depth 0: "
         "self-signed "
         "certificate"},
        {"unknown issuer", server_with({}, &stranger), "localhost", certificate_errc::unknown_issuer, 0,
         "coir::net: TLS handshake: the certificate of 'CN=localhost', issued by 'CN=Nobody's Root', at depth 0: "
         "unable "
         "to get local issuer certificate"},
        {"another name", server_with({.names = {"DNS:example.org"}}, root), "localhost", certificate_errc::other_host,
         0,
         "coir::net: TLS handshake: the certificate of 'CN=localhost', issued by 'CN=Test Root', at depth 0: hostname "
         "mismatch"},
        {"another address", server_with({}, root), "127.0.0.1", certificate_errc::other_address, 0,
         "coir::net: TLS handshake: the certificate of 'CN=localhost', issued by 'CN=Test Root', at depth 0: IP "
         "address "
         "mismatch"},
        {"an expired one above", server_with({}, &between), "localhost", certificate_errc::expired, 1,
         "coir::net: TLS handshake: the certificate of 'CN=Between', issued by 'CN=Test Root', at depth 1: certificate "
         "has expired"},
    };
    const auto clients = tls_context::client(client_options());
    for (const auto& each : cases) {
        CAPTURE(each.what);
        coir::run([&] {
            const auto servers = tls_context::server(server_options(each.server));
            tls_pair pair{clients, servers, each.host};
            const auto result = pair.shake_hands();
            CHECK(result.client == each.reason);
            CHECK(result.server.failed()); // the client has said so
            REQUIRE(pair.client.certificate_failure());
            CHECK(pair.client.certificate_failure()->depth == each.depth);
            error_code again;
            pair.client.write_some("x", again);
            CHECK(again == each.reason);

            tls_pair other{clients, servers, each.host};
            coir::fiber server{[&] {
                error_code ec;
                other.server.handshake(ec);
            }};
            CHECK_THROWS_WITH_AS(other.client.handshake(), each.message.c_str(), coir::net::certificate_error);
            server.join();
        });
    }
}

TEST_CASE("who does not verify accepts anything, and who does must say whom he wants") {
    const auto anybody = certificates::make({.common_name = "anybody", .ends = -1min});
    coir::run([&] {
        tcp_pair below;
        const auto careless = tls_context::client({.verify = false});
        tls_stream client{std::move(below.ours), careless};
        tls_stream server{std::move(below.theirs), tls_context::server(server_options(anybody))};
        coir::fiber other{[&] { server.write("hello\n"); }};
        std::string text;
        client.read_until(text, "\n");
        CHECK(client.peer_certificate()->subject == "CN=anybody");
        other.join();
    });
    CHECK_THROWS_AS(tls_stream(tcp_stream{}, tls_context::client()), std::invalid_argument);
    CHECK_THROWS_AS(tls_stream(tcp_stream{}, tls_context::client(), {.host = std::string{"a\0b", 3}}),
                    std::invalid_argument);
}

TEST_CASE("the authorities of the system are trusted, and those of the tests are not among them") {
    coir::run([] {
        tls_pair pair{tls_client_options{}};
        CHECK(pair.shake_hands().client == certificate_errc::unknown_issuer);
    });
}

TEST_CASE("a server asks for a certificate") {
    auto asking = server_options();
    asking.client_authorities = good().authority.certificate;
    auto named = client_options();
    named.certificate_chain = good().client.certificate;
    named.private_key = good().client.key;
    SUBCASE("which the client has") {
        asking.clients = client_certificates::required;
        coir::run([&] {
            tls_pair pair{named, asking};
            const auto result = pair.shake_hands();
            CHECK_FALSE(result.client.failed());
            CHECK_FALSE(result.server.failed());
            CHECK(pair.server.peer_certificate()->subject == "CN=some client");
        });
    }
    SUBCASE("which the client has not, and needs not") {
        asking.clients = client_certificates::accepted;
        coir::run([&] {
            tls_pair pair{client_options(), asking};
            CHECK_FALSE(pair.shake_hands().server.failed());
            CHECK_FALSE(pair.server.peer_certificate());
        });
    }
    SUBCASE("which the client has not, but needs") {
        asking.clients = client_certificates::required;
        for (const auto version : {tls_version::tls_1_2, tls_version::tls_1_3}) {
            coir::run([&] {
                asking.version_min = version;
                tls_pair pair{client_options(), asking};
                const auto result = pair.shake_hands();
                CHECK(result.server.message().starts_with("peer did not return a certificate"));
                // With TLS 1.3 the client is ready before the server has looked (RFC 8446, 2).
                error_code ec = result.client;
                if (!ec.failed())
                    read_all(pair.client, ec);
                CHECK(ec.message().starts_with("tlsv13 alert certificate required"));
            });
        }
    }
    SUBCASE("and gets a stranger's") {
        asking.clients = client_certificates::accepted;
        const auto stranger = certificates::make({.common_name = "stranger"});
        named.certificate_chain = stranger.certificate;
        named.private_key = stranger.key;
        coir::run([&] {
            tls_pair pair{named, asking};
            CHECK(pair.shake_hands().server == certificate_errc::self_signed);
            CHECK(pair.server.certificate_failure()->subject == "CN=stranger");
        });
    }
}

TEST_CASE("a context says what is wrong with its files") {
    const auto why = [](auto&& make) -> std::string {
        try {
            make();
        } catch (const std::system_error& failure) {
            return failure.what();
        }
        return "nothing";
    };
    CHECK(why([] { tls_context::client({.authorities = "/nowhere/ca.pem"}); }) ==
          "coir::net::tls_context: /nowhere/ca.pem: No such file or directory");
    CHECK(why([] {
              tls_context::client({.authorities = "/dev/null"});
          }).starts_with("coir::net::tls_context: /dev/null: "));
    CHECK(why([] {
              tls_context::server({.certificate_chain = good().server.certificate, .private_key = good().client.key});
          }).starts_with("coir::net::tls_context: PEM text: key values mismatch"));
    CHECK_THROWS_AS(tls_context::client({.alpn = {""}}), std::invalid_argument);
}

// ---- what is agreed upon --------------------------------------------------------------------------------------------

TEST_CASE("the protocol above is agreed upon, by the server's preference") {
    const auto agreed = [](std::vector<std::string> clients, std::vector<std::string> servers) {
        auto client = client_options();
        auto server = server_options();
        client.alpn = std::move(clients);
        server.alpn = std::move(servers);
        return coir::run([&] {
            tls_pair pair{client, server};
            const auto result = pair.shake_hands();
            if (result.client.failed())
                return "client: " + result.client.message() + ", server: " + result.server.message();
            CHECK(pair.client.alpn() == pair.server.alpn());
            return pair.client.alpn();
        });
    };
    CHECK(agreed({"h2", "http/1.1"}, {"http/1.1", "h2"}) == "http/1.1");
    CHECK(agreed({"http/1.1", "h2"}, {"h2"}) == "h2");
    CHECK(agreed({"h2"}, {}) == "");
    CHECK(agreed({}, {"h2"}) == "");
    const auto none = agreed({"h2"}, {"http/1.1"});
    CHECK(none.find("client: tlsv1 alert no application protocol") == 0);
    CHECK(none.find("server: no application protocol") != std::string::npos);
}

TEST_CASE("sessions are resumed, on both sides") {
    for (const auto version : {"TLSv1.2", "TLSv1.3"}) {
        CAPTURE(version);
        const auto clients = tls_context::client(client_options());
        SSL_CTX_set_max_proto_version(clients.native_handle(),
                                      version == std::string{"TLSv1.2"} ? TLS1_2_VERSION : TLS1_3_VERSION);
        auto asking = server_options(); // a session keeps the client's certificate, too
        asking.clients = client_certificates::accepted;
        asking.client_authorities = good().authority.certificate;
        const auto servers = tls_context::server(asking);
        coir::run([&] {
            const auto connect = [&](const std::string& host) {
                tls_pair pair{clients, servers, host};
                coir::fiber server{[&] {
                    pair.server.write("hello\n");
                    pair.server.shutdown();
                }};
                error_code ec;
                CHECK(read_all(pair.client, ec) == "hello\n");
                CHECK(pair.client.version() == version);
                pair.client.shutdown();
                server.join();
                CHECK(pair.client.resumed() == pair.server.resumed());
                CHECK(pair.server.server_name() == (host == "localhost" ? "localhost" : "")); // addresses are no SNI
                return pair.client.resumed();
            };
            CHECK_FALSE(connect("localhost"));
            CHECK(clients.session_count() > 0);
            CHECK(connect("localhost"));
            CHECK(connect("localhost"));
            CHECK_FALSE(connect("127.0.0.1")); // is another server, for all we know
            // Who just closes, without a goodbye, comes back all the same.
            {
                tls_pair pair{clients, servers};
                coir::fiber server{[&] { pair.server.write("hello\n"); }};
                std::string text;
                pair.client.read_until(text, "\n");
                server.join();
            }
            for (auto left = clients.session_count(); left > 0; --left)
                CHECK(connect("localhost"));
        });
    }
    const auto forgetful = [] {
        auto options = client_options();
        options.sessions_max = 0;
        return tls_context::client(options);
    }();
    coir::run([&] {
        tls_pair pair{forgetful, tls_context::server(server_options())};
        pair.shake_hands();
        CHECK(forgetful.session_count() == 0);
    });
}

// ---- the end --------------------------------------------------------------------------------------------------------

TEST_CASE("a connection that just breaks off is told from one that ends") {
    coir::run([] {
        tls_pair pair;
        coir::fiber server{[&] {
            pair.server.write("half of");
            pair.server.close();
        }};
        error_code ec;
        CHECK(read_all(pair.client, ec) == "half of");
        CHECK(is_truncated(ec));
        CHECK(ec.message() == "stream truncated");
        server.join();
    });
}

TEST_CASE("each direction ends by itself") {
    coir::run([] {
        tls_pair pair;
        coir::fiber server{[&] {
            error_code ec;
            const auto all = read_all(pair.server, ec);
            CHECK(ec == error::eof);
            pair.server.write("you said " + all); // after the client's end
            pair.server.shutdown();
        }};
        pair.client.write("everything");
        pair.client.shutdown_send();
        pair.client.shutdown_send();
        error_code ec;
        pair.client.write_some("more", ec);
        CHECK(ec.failed());
        CHECK(read_all(pair.client, ec) == "you said everything");
        CHECK(ec == error::eof);
        pair.client.shutdown();
        server.join();
    });
}

TEST_CASE("a goodbye that is not answered is told, and may be limited in time") {
    coir::run([] {
        {
            tls_pair pair;
            pair.shake_hands();
            const coir::timeout limit{20ms};
            CHECK_THROWS_AS(pair.client.shutdown(), coir::timed_out);
        }
        {
            tls_pair pair;
            pair.shake_hands();
            coir::fiber server{[&] {
                error_code ec;
                read_all(pair.server, ec);
                CHECK(ec == error::eof);
                pair.server.close();
            }};
            error_code ec;
            pair.client.shutdown(ec);
            CHECK(is_truncated(ec));
            server.join();
        }
        {
            tls_pair pair;
            error_code ec;
            pair.client.shutdown(ec);
            CHECK(ec == error::not_connected);
        }
    });
}

// ---- peers that misbehave -------------------------------------------------------------------------------------------

TEST_CASE("a peer that speaks no TLS, hangs up or resets in the middle of the handshake") {
    const auto after_hello = [](const std::function<void(tcp_stream&)>& then) {
        return coir::run([&] {
            tcp_pair below;
            tls_stream client{std::move(below.ours), tls_context::client(client_options()), {.host = "localhost"}};
            coir::fiber server{[&] {
                char hello[5];
                below.theirs.read(hello);
                then(below.theirs);
            }};
            error_code ec;
            client.handshake(ec);
            server.join();
            error_code again;
            client.read_some(boost::asio::buffer(&ec, 1), again);
            CHECK(again == ec);
            return ec;
        });
    };
    CHECK(after_hello([](tcp_stream& stream) { stream.write("220 ready\r\n"); })
              .message()
              .starts_with("wrong version number"));
    CHECK(is_truncated(after_hello([](tcp_stream& stream) {
        stream.shutdown(tcp_stream::shutdown_send);
        std::string rest(10'000, '\0'); // what is not read makes a reset of the close
        error_code ec;
        stream.read_some(rest, ec);
    })));
    CHECK(after_hello([](tcp_stream& stream) {
              stream.set_option(tcp_stream::linger{true, 0});
              stream.close();
          }) == error::connection_reset);
}

TEST_CASE("a peer that stalls in the handshake is left at the deadline, and one may go on with it") {
    coir::run([] {
        tls_pair pair;
        {
            const coir::timeout limit{20ms};
            CHECK_THROWS_AS(pair.client.handshake(), coir::timed_out);
        }
        const auto result = pair.shake_hands();
        CHECK_FALSE(result.client.failed());
        CHECK_FALSE(result.server.failed());
    });
}

TEST_CASE("a write that was cut off leaves a stream that is in order") {
    const auto sent = pattern(20'000'000); // more than the kernel takes
    coir::run([&] {
        tls_pair pair;
        pair.shake_hands();
        std::size_t done = 0;
        {
            coir::timeout limit{50ms};
            CHECK_THROWS_AS(pair.client.write(sent, &done), coir::timed_out);
            CHECK(limit.expired());
        }
        CHECK(done > 0);
        CHECK(done < sent.size());
        coir::fiber writer{[&] {
            pair.client.write(std::string_view{sent}.substr(done));
            pair.client.shutdown();
        }};
        error_code ec;
        const auto heard = read_all(pair.server, ec);
        CHECK(ec == error::eof);
        CHECK(heard.size() == sent.size());
        CHECK(heard == sent);
        pair.server.shutdown();
        writer.join();
    });
}

// ---- many -----------------------------------------------------------------------------------------------------------

TEST_CASE("a listener accepts without shaking hands, so who dawdles holds up nobody") {
    coir::run([] {
        coir::net::tls_listener listener{tcp_listener{loopback()}, tls_context::server(server_options())};
        const auto clients = tls_context::client(client_options());
        const auto dawdler = tcp_stream::connect(listener.local_endpoint());
        coir::fiber_group serving;
        coir::fiber accepting{[&] {
            for (;;) {
                auto accepted = std::make_shared<tls_stream>(listener.accept());
                serving.spawn([accepted] {
                    error_code ec;
                    accepted->write("hello\n", ec);
                });
            }
        }};
        auto stream = coir::net::tls_connect("localhost:" + std::to_string(listener.local_endpoint().port()), clients);
        std::string text;
        stream.read_until(text, "\n");
        CHECK(text == "hello\n");
        CHECK(stream.below<tcp_stream>() != nullptr);
        error_code ec;
        coir::net::tls_connect("127.0.0.1:1", clients, ec);
        CHECK(ec == error::connection_refused);
        accepting.cancel();
        accepting.join();
        serving.cancel();
        serving.join();
    });
}

TEST_CASE("connections of several hubs share a context") {
    const auto servers = tls_context::server(server_options());
    const auto clients = tls_context::client(client_options());
    std::atomic<int> resumed{0};
    std::atomic<int> answers{0};
    coir::runtime hubs{{.hubs = 3}};
    for (int i = 0; i < 30; ++i)
        hubs.spawn([&] {
            for (int times = 0; times < 5; ++times) {
                tls_pair pair{clients, servers};
                coir::fiber server{[&] { pair.server.write("hello\n"); }};
                std::string text;
                pair.client.read_until(text, "\n");
                answers += text == "hello\n";
                resumed += pair.client.resumed();
                server.join();
            }
        });
    hubs.run();
    CHECK(answers == 150);
    CHECK(resumed > 0);
}

TEST_CASE("what has been read is not lost, whichever wait is cut off") {
    const auto sent = pattern(300'000);
    for (int round = 0; round < 40; ++round)
        coir::run([&] {
            tls_pair pair;
            pair.shake_hands();
            coir::fiber server{[&] {
                for (std::size_t at = 0; at < sent.size(); at += 10'000) {
                    // Each time the client has to answer, too.
                    SSL_key_update(pair.server.native_handle(), SSL_KEY_UPDATE_REQUESTED);
                    pair.server.write(std::string_view{sent}.substr(at, 10'000));
                    coir::this_fiber::yield();
                }
                pair.server.shutdown_send();
            }};
            std::string heard;
            for (error_code ec; !ec.failed();) {
                std::string part(7'000, '\0');
                std::size_t done = 0;
                try {
                    const coir::timeout limit{std::chrono::microseconds{10 * round}};
                    pair.client.read(part, ec, &done);
                } catch (const coir::timed_out&) {
                    coir::this_fiber::yield();
                }
                heard.append(part, 0, done);
            }
            CHECK(heard.size() == sent.size());
            CHECK(heard == sent);
            server.join();
        });
}

TEST_CASE("a thousand handshakes at the same time, good and bad, each with its own outcome") {
    constexpr std::size_t count = 1'000;
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    const auto servers = tls_context::server(server_options());
    const auto clients = tls_context::client(client_options());
    const auto strangers =
        tls_context::client({.authorities = certificates::make({.common_name = "Other", .signs = true}).certificate});
    std::size_t good_ones = 0;
    std::size_t refused = 0;
    std::size_t most = 0;
    coir::run([&] {
        std::size_t waiting = 0;
        coir::event all_here;
        coir::fiber_group all;
        for (std::size_t i = 0; i < count; ++i) {
            all.spawn([&, i] {
                tls_pair pair{i % 2 ? clients : strangers, servers};
                most = std::max(most, ++waiting);
                if (waiting == count)
                    all_here.set();
                all_here.wait();
                const auto result = pair.shake_hands();
                if (!result.client.failed() && !result.server.failed())
                    ++good_ones;
                else if (result.client == certificate_errc::unknown_issuer &&
                         result.server.message().starts_with("tlsv1 alert unknown ca"))
                    ++refused;
            });
        }
        all.join();
    });
    CHECK(most == count);
    CHECK(good_ones == count / 2);
    CHECK(refused == count / 2);
}
