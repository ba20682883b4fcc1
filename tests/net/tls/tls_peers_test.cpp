// SPDX-License-Identifier: BSL-1.0
// TLS with peers that are not ours: nginx, `openssl s_server` and `s_client`, curl, and a server of blocking threads.
#include "certificates.hpp"
#include "loopback.hpp"
#include "server.hpp"

#include <coir/net/serve.hpp>
#include <coir/net/tls_connect.hpp>
#include <coir/net/tls_listener.hpp>

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

using namespace std::chrono_literals;
using certificates::good;
using clients::web_server;
using coir::net::client_certificates;
using coir::net::error_code;
using coir::net::tls_context;
using coir::net::tls_stream;
namespace error = coir::net::error;

namespace {

std::string at(int port)
{
    return "127.0.0.1:" + std::to_string(port);
}

/// The answer's body, and how it ended.
std::pair<std::string, error_code> get(tls_stream& stream, const std::string& path)
{
    stream.write("GET " + path + " HTTP/1.0\r\n\r\n");
    std::string answer;
    std::array<char, 20'000> part;
    error_code ec;
    while (!ec.failed())
        answer.append(part.data(), stream.read_some(part, ec));
    const auto body = answer.find("\r\n\r\n");
    return {body == std::string::npos ? answer : answer.substr(body + 4), ec};
}

/// A directory with certificates in files, for programs.
class certificate_files {
public:
    certificate_files()
    {
        auto pattern = (std::filesystem::temp_directory_path() / "coir-test-tls-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        directory_ = pattern;
        write("ca.pem", good().authority.certificate);
        write("server.pem", good().server.certificate + good().server.key);
        write("client.pem", good().client.certificate + good().client.key);
    }
    certificate_files(const certificate_files&) = delete;
    certificate_files& operator=(const certificate_files&) = delete;
    ~certificate_files()
    {
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }
    std::string operator()(const char* name) const { return (directory_ / name).string(); }

private:
    void write(const char* name, const std::string& text) const { std::ofstream{directory_ / name} << text; }
    std::filesystem::path directory_;
};

/// `openssl s_server`, which answers each request with a page about the connection.
struct s_server {
    explicit s_server(const std::string& options = "")
    {
        process.start("exec " + clients::program("openssl", "openssl") + " s_server -accept " + at(port) + " -cert " +
                          files("server.pem") + " -CAfile " + files("ca.pem") + " -www " + options,
                      "", SIGTERM);
    }
    bool is_ready() const { return clients::accepts_connections(port); }

    certificate_files files;
    clients::server_process process{"s_server"};
    int port = clients::free_port();
};
struct strict_s_server : s_server {
    strict_s_server() : s_server{"-Verify 1 -verify_return_error"} {}
};
struct old_s_server : s_server {
    old_s_server() : s_server{"-tls1_2 -alpn h2"} {}
};

tls_context trusting(const coir::net::pem& authorities, std::vector<std::string> alpn = {})
{
    return tls_context::client({.authorities = authorities, .alpn = std::move(alpn)});
}

struct outcome {
    int status = -1;
    std::string output;
};

/// Runs a command on a helper thread; the fiber waits for it.
outcome run_command(const std::string& command)
{
    return coir::offload([&] {
        outcome result;
        auto* pipe = ::popen((command + " 2>&1").c_str(), "r");
        char part[4096];
        while (const auto size = std::fread(part, 1, sizeof part, pipe))
            result.output.append(part, size);
        const int status = ::pclose(pipe);
        result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        return result;
    });
}

/// Calls `use(port)` while our own server answers requests with a line about the connection.
void with_server(const coir::net::tls_server_options& options, const std::function<void(int)>& use)
{
    coir::run([&] {
        coir::net::tls_listener listener{coir::net::tcp_listener{loopback()}, tls_context::server(options)};
        coir::fiber_group connections;
        coir::fiber accepting{[&] {
            for (;;) {
                auto accepted = std::make_shared<tls_stream>(listener.accept());
                connections.spawn([accepted] {
                    auto& stream = *accepted;
                    error_code ec;
                    std::string request;
                    if (stream.read_until(request, "\r\n\r\n", 10'000, ec) == 0)
                        return;
                    const auto client = stream.peer_certificate();
                    const auto body = stream.version() + " for " + stream.server_name() + " to " +
                                      (client ? client->subject : "anybody") + " alpn=" + stream.alpn() +
                                      (stream.resumed() ? " again\n" : " first\n");
                    stream.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " +
                                     std::to_string(body.size()) + "\r\n\r\n" + body,
                                 ec);
                    stream.shutdown(ec);
                });
            }
        }};
        use(listener.local_endpoint().port());
        accepting.cancel();
        accepting.join();
        connections.join();
    });
}

coir::net::tls_server_options ours()
{
    return {.certificate_chain = good().server.certificate, .private_key = good().server.key};
}

} // namespace

// ---- servers --------------------------------------------------------------------------------------------------------

TEST_CASE("nginx answers, resumes sessions and says goodbye") {
    auto& web = clients::shared<web_server>();
    const auto context = trusting(web.peer.certificate(), {"http/1.1"});
    coir::run([&] {
        for (const bool again : {false, true, true}) {
            auto stream = coir::net::tls_connect(at(web.tls_port), context);
            CHECK(stream.alpn() == "http/1.1");
            const auto [body, end] = get(stream, "/small");
            CHECK(body == "small\n");
            CHECK(end == error::eof);
            CHECK(stream.resumed() == again);
            stream.shutdown();
        }
        auto stream = coir::net::tls_connect("localhost:" + std::to_string(web.tls_port), context);
        const auto [body, end] = get(stream, "/big");
        CHECK(body.size() == 10'000'000);
        CHECK(end == error::eof);
    });
}

TEST_CASE("a server that nobody has vouched for, one that hangs up, and one that is silent") {
    auto& web = clients::shared<web_server>();
    const auto context = trusting(web.peer.certificate());
    coir::run([&] {
        try {
            coir::net::tls_connect(at(web.tls_port), trusting(web.peer.wrong_certificate()));
            FAIL("accepted");
        } catch (const coir::net::certificate_error& failure) {
            CHECK(failure.code() == std::error_code{make_error_code(coir::net::certificate_errc::self_signed)});
            CHECK(failure.certificate().subject == "CN=localhost");
        }
        auto cut = coir::net::tls_connect(at(web.peer.tls_port), context);
        const auto [body, end] = get(cut, "/cut");
        CHECK(body.size() == 100);
        CHECK(coir::net::is_truncated(end));

        auto silent = coir::net::tls_connect(at(web.peer.tls_port), context);
        {
            const coir::timeout limit{50ms};
            CHECK_THROWS_AS(get(silent, "/never"), coir::timed_out);
        }
        error_code ec;
        coir::net::tls_connect(at(web.port), context, ec);
        CHECK(ec.message().starts_with("wrong version number"));
    });
}

TEST_CASE("openssl s_server wants a certificate of its client") {
    std::optional<strict_s_server> server;
    clients::start(server);
    const auto named = tls_context::client({.authorities = good().authority.certificate,
                                            .certificate_chain = good().client.certificate,
                                            .private_key = good().client.key});
    coir::run([&] {
        {
            auto stream = coir::net::tls_connect(at(server->port), named);
            const auto [page, end] = get(stream, "/");
            CHECK_MESSAGE(page.find("CN=some client") != std::string::npos, page);
            stream.shutdown(); // it serves one after the other
        }
        auto nameless = coir::net::tls_connect(at(server->port), trusting(good().authority.certificate));
        const auto [nothing, why] = get(nameless, "/");
        CHECK(nothing == "");
        CHECK(why.message().starts_with("tlsv13 alert certificate required"));
    });
}

TEST_CASE("openssl s_server with TLS 1.2: sessions are resumed, the protocol above is agreed upon") {
    std::optional<old_s_server> server;
    clients::start(server);
    const auto context = trusting(good().authority.certificate, {"http/1.1", "h2"});
    coir::run([&] {
        for (const bool again : {false, true, true}) {
            auto stream = coir::net::tls_connect(at(server->port), context);
            CHECK(stream.version() == "TLSv1.2");
            CHECK(stream.alpn() == "h2");
            CHECK(stream.resumed() == again);
            const auto [page, end] = get(stream, "/");
            CHECK(page.find(again ? "Reused, TLSv1.2" : "New, TLSv1.2") != std::string::npos);
            stream.shutdown();
        }
    });
}

// ---- clients --------------------------------------------------------------------------------------------------------

TEST_CASE("curl takes our server for what it is") {
    const auto curl = clients::program("curl", "curl") + " --silent --show-error --max-time 60 ";
    const certificate_files files;
    const auto url = [](int port) { return " https://localhost:" + std::to_string(port) + "/"; };
    auto options = ours();
    options.alpn = {"http/1.1"};
    options.clients = client_certificates::accepted;
    options.client_authorities = good().authority.certificate;
    with_server(options, [&](int port) {
        const auto trusted = curl + "--ipv4 --cacert " + files("ca.pem");
        CHECK(run_command(trusted + url(port)).output == "TLSv1.3 for localhost to anybody alpn=http/1.1 first\n");
        CHECK(run_command(trusted + " --tls-max 1.2" + url(port)).output ==
              "TLSv1.2 for localhost to anybody alpn=http/1.1 first\n");
        CHECK(run_command(trusted + " --cert " + files("client.pem") + url(port)).output ==
              "TLSv1.3 for localhost to CN=some client alpn=http/1.1 first\n");
        // Two requests of one curl: the second resumes the session of the first.
        CHECK(run_command(trusted + url(port) + url(port)).output ==
              "TLSv1.3 for localhost to anybody alpn=http/1.1 first\n"
              "TLSv1.3 for localhost to anybody alpn=http/1.1 again\n");
        CHECK(run_command(curl + "--ipv4" + url(port)).status == 60); // it does not know the authority
        CHECK(run_command(trusted + " --tls-max 1.1" + url(port)).status == 35);
    });
}

TEST_CASE("openssl s_client takes our server for what it is") {
    const certificate_files files;
    with_server(ours(), [&](int port) {
        const auto ask = [&](const std::string& options) {
            return run_command("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | " + clients::program("openssl", "openssl") +
                               " s_client -connect " + at(port) + " -servername localhost -CAfile " + files("ca.pem") +
                               " -verify_return_error -verify_hostname localhost -ign_eof " + options);
        };
        for (const auto* version : {"tls1_2", "tls1_3"}) {
            CAPTURE(version);
            const auto session = " -" + std::string{version} + " -sess_";
            const auto first = ask(session + "out " + files("session"));
            CHECK(first.output.find("Verify return code: 0 (ok)") != std::string::npos);
            CHECK(first.output.find("for localhost to anybody alpn= first\n") != std::string::npos);
            CHECK(first.output.find("closed") != std::string::npos);
            const auto second = ask(session + "in " + files("session"));
            CHECK(second.output.find("Reused, TLSv1.") != std::string::npos);
            CHECK(second.output.find("for localhost to anybody alpn= again\n") != std::string::npos);
        }
    });
}

TEST_CASE("serve takes a tls_listener, and a client that speaks no TLS fails alone") {
    const certificate_files files;
    coir::run([&] {
        coir::net::tls_listener listener{coir::net::tcp_listener{loopback()}, tls_context::server(ours())};
        const int port = listener.local_endpoint().port();
        std::stop_source stop;
        std::string errors;
        coir::net::serve_options options;
        options.stop = stop.get_token();
        options.on_error = [&](const std::exception_ptr& why) {
            try {
                std::rethrow_exception(why);
            } catch (const std::exception& failure) {
                errors += failure.what();
            }
        };
        coir::net::serve_report report;
        coir::fiber server{[&] {
            const auto answer = [](tls_stream peer) {
                std::string request;
                peer.read_until(request, "\r\n\r\n", 10'000);
                peer.write("HTTP/1.0 200 OK\r\n\r\nover " + peer.version() + "\n");
                peer.shutdown();
            };
            report = coir::net::serve(listener, answer, options);
        }};

        const auto curl = clients::program("curl", "curl") + " --silent --show-error --max-time 60 --ipv4";
        const auto host = "localhost:" + std::to_string(port);
        CHECK(run_command(curl + " http://" + host).status != 0);
        CHECK(run_command(curl + " --cacert " + files("ca.pem") + " https://" + host).output == "over TLSv1.3\n");
        stop.request_stop();
        server.join();
        CHECK(report.accepted == 2);
        CHECK(report.failed == 1);
        CHECK_MESSAGE(errors.find("http request") != std::string::npos, errors);
    });
}
