// SPDX-License-Identifier: BSL-1.0
//
// tls_client HOST:PORT [PATH] [--ca FILE] [--seconds N]: a GET over TLS. Says what was agreed upon and what the
// server's certificate says, or what is wrong with it. Exits with 0, or with 1 for anything that fails.
#include <coir/deadline.hpp>
#include <coir/net/tls_connect.hpp>
#include <coir/runtime.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

namespace {

struct options {
    std::string target;
    std::string path = "/";
    std::string authorities;
    int seconds = 10;
};

/// False for a command line that makes no sense.
bool parse(int count, char** arguments, options& all)
{
    int position = 0;
    for (int i = 1; i < count; ++i) {
        const std::string_view argument = arguments[i];
        if (argument == "--ca" && i + 1 < count)
            all.authorities = arguments[++i];
        else if (argument == "--seconds" && i + 1 < count)
            all.seconds = std::atoi(arguments[++i]);
        else if (argument.starts_with("-") || position == 2)
            return false;
        else
            (position++ == 0 ? all.target : all.path) = argument;
    }
    return position > 0 && all.seconds > 0;
}

std::string date_of(std::chrono::sys_seconds instant)
{
    const std::time_t time = instant.time_since_epoch().count();
    std::tm parts{};
    char text[32];
    ::gmtime_r(&time, &parts);
    return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts)};
}

void print_connection(const coir::net::tls_stream& stream)
{
    std::printf("%s, %s\n", stream.version().c_str(), stream.cipher().c_str());
    if (!stream.alpn().empty())
        std::printf("speaks     %s\n", stream.alpn().c_str());
    const auto certificate = stream.peer_certificate();
    if (!certificate)
        return;
    std::printf("subject    %s\n", certificate->subject.c_str());
    std::printf("issuer     %s\n", certificate->issuer.c_str());
    std::printf("valid      %s to %s\n", date_of(certificate->not_before).c_str(),
                date_of(certificate->not_after).c_str());
    for (const auto& name : certificate->names)
        std::printf("for        %s\n", name.c_str());
}

void get(const options& all)
{
    const auto context = coir::net::tls_context::client({.authorities = all.authorities, .alpn = {"http/1.1"}});
    auto stream = coir::net::tls_connect(all.target, context);
    print_connection(stream);

    stream.write("GET " + all.path + " HTTP/1.1\r\nHost: " + all.target + "\r\nConnection: close\r\n\r\n");
    std::string answer;
    const auto head = stream.read_until(answer, "\r\n\r\n");
    std::printf("answer     %s\n", answer.substr(0, answer.find("\r\n")).c_str());
    std::size_t size = answer.size() - head;
    std::array<char, 16'384> part;
    boost::system::error_code ec;
    while (!ec.failed())
        size += stream.read_some(part, ec);
    std::printf("body       %zu bytes%s\n", size, coir::net::is_truncated(ec) ? ", cut off" : "");
    if (ec != boost::asio::error::eof && !coir::net::is_truncated(ec))
        throw std::system_error{ec, all.target};
    stream.shutdown_send(ec); // out of politeness: an error makes no difference now
}

} // namespace

int main(int count, char** arguments)
{
    options all;
    if (!parse(count, arguments, all)) {
        std::fprintf(stderr, "usage: tls_client HOST:PORT [PATH] [--ca FILE] [--seconds N]\n");
        return 2;
    }
    return coir::run([&] {
        try {
            const coir::timeout limit{std::chrono::seconds{all.seconds}};
            get(all);
            return 0;
        } catch (const coir::net::certificate_error& failure) {
            const auto& which = failure.certificate();
            std::fprintf(stderr, "tls_client: %s: do not trust it: %s\n", all.target.c_str(),
                         which.reason.message().c_str());
            std::fprintf(stderr, "  subject  %s\n  issuer   %s\n  depth    %d\n", which.subject.c_str(),
                         which.issuer.c_str(), which.depth);
        } catch (const std::exception& failure) {
            std::fprintf(stderr, "tls_client: %s: %s\n", all.target.c_str(), failure.what());
        } catch (const coir::timed_out&) {
            std::fprintf(stderr, "tls_client: %s: no answer within %d s\n", all.target.c_str(), all.seconds);
        }
        return 1;
    });
}
