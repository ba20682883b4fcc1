// SPDX-License-Identifier: BSL-1.0
// Unmodified OpenSSL on blocking sockets in fibers, with nginx and with a server that closes when it is told to.
#include "server.hpp"
#include "together.hpp"

#include <coir/event.hpp>
#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <ostream>
#include <vector>

namespace clients {
namespace {

web_server& web()
{
    [[maybe_unused]] static const auto once = ::signal(SIGPIPE, SIG_IGN); // as OpenSSL wants it
    return shared<web_server>();
}

struct with_web {
    with_web() { web(); }
};

// ---- OpenSSL as anybody uses it -------------------------------------------------------------------------------------

struct tls_delete {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
    void operator()(SSL* tls) const noexcept { SSL_free(tls); }
    void operator()(BIO* bio) const noexcept { BIO_free_all(bio); }
};
using tls_context = std::unique_ptr<SSL_CTX, tls_delete>;

tls_context trusting(const std::string& authority)
{
    tls_context context{SSL_CTX_new(TLS_client_method())};
    SSL_CTX_load_verify_file(context.get(), authority.c_str());
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    return context;
}

/// The contexts that the fibers of a test share, as programs do.
struct contexts {
    tls_context good = trusting(web().peer.certificate());
    tls_context wrong = trusting(web().peer.wrong_certificate());
};

/// The outcome of one call, and what it has left in the error queue.
struct outcome {
    int result = 1;
    int error = SSL_ERROR_NONE; ///< SSL_get_error
    int number = 0;             ///< errno, where SSL_get_error says that it matters
    std::vector<std::string> queue;

    friend bool operator==(const outcome&, const outcome&) = default;
    friend std::ostream& operator<<(std::ostream& out, const outcome& it)
    {
        out << it.result << ": error " << it.error << ", errno " << it.number;
        for (const auto& each : it.queue)
            out << ", " << each;
        return out;
    }
};

/// Reads the error queue without emptying it.
outcome outcome_of(const SSL* tls, int result)
{
    const int number = errno;
    outcome all{.result = result, .error = SSL_get_error(tls, result), .number = 0, .queue = {}};
    if (all.error == SSL_ERROR_SYSCALL)
        all.number = number;
    if (const auto error = ERR_peek_last_error())
        all.queue.push_back(ERR_reason_error_string(error) ? ERR_reason_error_string(error) : "?");
    return all;
}

/// A TLS connection on a plain blocking socket.
class connection {
public:
    connection(SSL_CTX* context, int port) : socket_{connect_to(port)}, tls_{SSL_new(context)}
    {
        SSL_set_fd(tls_.get(), socket_);
        ERR_clear_error();
        handshake_ = outcome_of(tls_.get(), SSL_connect(tls_.get()));
    }
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    ~connection() { ::close(socket_); }

    const outcome& handshake() const noexcept { return handshake_; }
    bool nonblocking() const { return is_nonblocking(socket_); }

    outcome write(const std::string& text)
    {
        ERR_clear_error();
        return outcome_of(tls_.get(), SSL_write(tls_.get(), text.data(), static_cast<int>(text.size())));
    }
    outcome read(std::string& to)
    {
        char buffer[16384];
        ERR_clear_error(); // OpenSSL asks for it before each call whose error is looked at
        const int size = SSL_read(tls_.get(), buffer, sizeof buffer);
        if (size > 0)
            to.append(buffer, static_cast<std::size_t>(size));
        return outcome_of(tls_.get(), size);
    }
    int shutdown() { return SSL_shutdown(tls_.get()); }

private:
    int socket_;
    std::unique_ptr<SSL, tls_delete> tls_;
    outcome handshake_;
};

/// All that can be seen of one request, until the server closes.
struct exchange {
    outcome handshake;
    std::string body;
    outcome end;
    bool nonblocking = false;

    friend bool operator==(const exchange&, const exchange&) = default;
    friend std::ostream& operator<<(std::ostream& out, const exchange& it)
    {
        return out << "{handshake " << it.handshake << "; " << it.body.size() << " bytes: " << it.body.substr(0, 40)
                   << "; end " << it.end << "; O_NONBLOCK " << it.nonblocking << "}";
    }
};

exchange get(SSL_CTX* context, int port, const std::string& path)
{
    exchange all;
    connection mine{context, port};
    all.handshake = mine.handshake();
    all.nonblocking = mine.nonblocking();
    if (all.handshake.result != 1)
        return all;
    all.end = mine.write("GET " + path + " HTTP/1.0\r\n\r\n");
    while (all.end.result > 0)
        all.end = mine.read(all.body);
    all.nonblocking |= mine.nonblocking();
    all.body = all.body.substr(std::min(all.body.size(), all.body.find("\r\n\r\n"))); // nginx' headers have a date
    return all;
}

/// The same with OpenSSL's own sockets.
std::string get_with_bio(SSL_CTX* context, int port, const std::string& path)
{
    const std::unique_ptr<BIO, tls_delete> bio{BIO_new_ssl_connect(context)};
    BIO_set_conn_hostname(bio.get(), ("127.0.0.1:" + std::to_string(port)).c_str());
    ERR_clear_error();
    if (BIO_do_connect(bio.get()) <= 0) {
        const char* reason = ERR_reason_error_string(ERR_peek_last_error());
        return reason ? reason : "?";
    }
    BIO_puts(bio.get(), ("GET " + path + " HTTP/1.0\r\n\r\n").c_str());
    std::string all = is_nonblocking(static_cast<int>(BIO_get_fd(bio.get(), nullptr))) ? "O_NONBLOCK" : "";
    char buffer[16384];
    std::string answer;
    for (int size; (size = BIO_read(bio.get(), buffer, sizeof buffer)) > 0;)
        answer.append(buffer, static_cast<std::size_t>(size));
    return all + answer.substr(std::min(answer.size(), answer.find("\r\n\r\n")));
}

constexpr const char* mistrust = "certificate verify failed";

} // namespace

// ---- many at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_web, "thirty fibers make requests with SSL_connect and SSL_read at once, on one thread") {
    constexpr std::size_t count = 30;
    const contexts all;
    const auto request = [&](std::size_t together) {
        return get(all.good.get(), web().tls_port, "/peer/slow?of=" + std::to_string(together));
    };
    const auto expected = natively([&] { return request(1); });
    REQUIRE(expected.body.ends_with("slow\n"));
    REQUIRE_FALSE(expected.nonblocking);
    std::vector<exchange> exchanges(count + 1);
    const auto most = all_but_one_together(count, [&](std::size_t i) { exchanges[i] = request(count + 1); });
    for (const auto& each : exchanges)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
    CHECK(most.nonblocking == 0);
}

TEST_CASE_FIXTURE(with_web, "thirty fibers make requests with OpenSSL's BIO at once, on one thread") {
    constexpr std::size_t count = 30;
    const contexts all;
    const auto request = [&](std::size_t together) {
        return get_with_bio(all.good.get(), web().tls_port, "/peer/slow?of=" + std::to_string(together));
    };
    const auto expected = natively([&] { return request(1); });
    REQUIRE(expected.ends_with("slow\n"));
    std::vector<std::string> answers(count + 1);
    const auto most = all_but_one_together(count, [&](std::size_t i) { answers[i] = request(count + 1); });
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
    CHECK(most.nonblocking == 0);
}

TEST_CASE_FIXTURE(with_web, "fibers' handshakes with OpenSSL fail and succeed at the same time, each as natively") {
    const contexts all;
    const auto request = [&](bool good) { return get((good ? all.good : all.wrong).get(), web().tls_port, "/small"); };
    const auto good = natively([&] { return request(true); });
    const auto bad = natively([&] { return request(false); });
    REQUIRE(good.body.ends_with("small\n"));
    REQUIRE(bad.handshake.error == SSL_ERROR_SSL);
    REQUIRE(bad.handshake.queue == std::vector<std::string>{mistrust});
    std::vector<exchange> exchanges(60);
    together(exchanges.size(), [&](std::size_t i) { exchanges[i] = request(i % 2); });
    for (std::size_t i = 0; i < exchanges.size(); ++i)
        CHECK(exchanges[i] == (i % 2 ? good : bad));
}

// ---- as native ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_web, "a large download with OpenSSL is as native") {
    const contexts all;
    const auto result = check_native([&] { return get(all.good.get(), web().tls_port, "/big"); });
    CHECK(result.body.size() == 10'000'000 + 4);
    const auto with_bio = check_native([&] { return get_with_bio(all.good.get(), web().tls_port, "/big"); });
    CHECK(with_bio.size() == 10'000'000 + 4);
}

TEST_CASE_FIXTURE(with_web, "OpenSSL's failures are as native") {
    const contexts all;
    SUBCASE("a certificate that is not trusted") {
        const auto result = check_native([&] { return get(all.wrong.get(), web().peer.tls_port, "/small"); });
        CHECK(result.handshake.error == SSL_ERROR_SSL);
        CHECK(check_native([&] { return get_with_bio(all.wrong.get(), web().tls_port, "/small"); }) == mistrust);
    }
    SUBCASE("a server that speaks no TLS") {
        const auto result = check_native([&] { return get(all.good.get(), web().port, "/small"); });
        CHECK(result.handshake.error == SSL_ERROR_SSL);
    }
    SUBCASE("a refused connection") {
        const int nobody = free_port();
        check_native([&] { return get_with_bio(all.good.get(), nobody, "/"); });
    }
    SUBCASE("a server that hangs up without close_notify") {
        const auto result = check_native([&] { return get(all.good.get(), web().peer.tls_port, "/cut"); });
        CHECK(result.end.error == SSL_ERROR_SSL);
        CHECK(result.body.ends_with("."));
    }
}

// ---- the error queue ------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_web, "the errors of a fiber's handshake are not seen by a fiber that waits in SSL_read") {
    // OpenSSL keeps its error queue per thread, and SSL_get_error looks there first: an error of another fiber would
    // turn the orderly end of a connection into SSL_ERROR_SSL.
    const contexts all;
    const int port = web().peer.tls_port;
    const auto release = [&] {
        const int socket = connect_to(web().peer.port);
        const std::string request = "GET /release HTTP/1.1\r\n\r\n";
        ::write(socket, request.data(), request.size());
        char buffer[1024];
        const auto size = ::read(socket, buffer, sizeof buffer);
        ::close(socket);
        const std::string answer{buffer, size > 0 ? static_cast<std::size_t>(size) : 0};
        return std::atoi(answer.c_str() + std::min(answer.size(), answer.find("\r\n\r\n")));
    };
    const auto held = [&] { return get(all.good.get(), port, "/hold"); };

    const auto expected = [&] {
        exchange result;
        std::thread reader{[&] { result = held(); }};
        while (release() < 1)
            ::usleep(10'000);
        reader.join();
        return result;
    }();
    REQUIRE(expected.end.result == 0);
    REQUIRE(expected.end.error == SSL_ERROR_ZERO_RETURN);

    constexpr std::size_t readers = 10;
    std::vector<exchange> results(readers);
    std::vector<std::vector<std::string>> left_to_failures(readers);
    coir::run([&] {
        coir::event done;
        coir::fiber_group failing;
        coir::fiber_group reading;
        for (auto& result : results)
            reading.spawn([&] { result = held(); });
        coir::this_fiber::sleep_for(100ms);
        // They fail, do not look at their errors, and stay.
        for (auto& errors : left_to_failures)
            failing.spawn([&] {
                const connection mine{all.wrong.get(), port};
                done.wait();
                while (const auto error = ERR_get_error())
                    errors.push_back(ERR_reason_error_string(error));
            });
        coir::this_fiber::sleep_for(100ms);
        for (int released = 0; released < static_cast<int>(readers);) {
            released += release();
            ::usleep(10'000);
        }
        reading.join();
        done.set();
        failing.join();
    });
    for (const auto& each : results)
        CHECK(each == expected);
    for (const auto& each : left_to_failures)
        CHECK(each == std::vector<std::string>{mistrust});
    CHECK(ERR_peek_error() == 0);
}

TEST_CASE_FIXTURE(with_web, "a fiber does not find the errors of one that has ended") {
    const contexts all;
    coir::run([&] {
        coir::fiber failing{[&] {
            const connection mine{all.wrong.get(), web().peer.tls_port};
            CHECK(ERR_peek_error() != 0);
        }};
        failing.join();
        CHECK(ERR_peek_error() == 0);
        coir::fiber next{[&] { CHECK(ERR_peek_error() == 0); }};
        next.join();
    });
    CHECK(ERR_peek_error() == 0);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

TEST_CASE("a key that libcrypto makes has a value in each fiber, until it is deleted") {
    static int destroyed;
    destroyed = 0;
    coir::run({.hubs = 1}, [] {
        CRYPTO_THREAD_LOCAL key;
        REQUIRE(CRYPTO_THREAD_init_local(&key, [](void*) { ++destroyed; }) == 1);
        int ours = 1;
        CHECK(CRYPTO_THREAD_set_local(&key, &ours) == 1);
        coir::event looked;
        coir::event set;
        coir::fiber other{[&] {
            int its = 2;
            CHECK(CRYPTO_THREAD_get_local(&key) == nullptr);
            CHECK(CRYPTO_THREAD_set_local(&key, &its) == 1);
            set.set();
            looked.wait();
            CHECK(CRYPTO_THREAD_get_local(&key) == &its);
        }};
        set.wait();
        CHECK(CRYPTO_THREAD_get_local(&key) == &ours);
        CHECK(::pthread_getspecific(key) == &ours);
        looked.set();
        other.join();
        CHECK(destroyed == 1);
        CHECK(CRYPTO_THREAD_cleanup_local(&key) == 1);

        // What has its number next is not libcrypto's, and so the thread's.
        pthread_key_t next;
        REQUIRE(::pthread_key_create(&next, nullptr) == 0);
        REQUIRE(next == key);
        CHECK(::pthread_getspecific(next) == nullptr);
        coir::fiber{[&] { CHECK(::pthread_setspecific(next, &ours) == 0); }}.join();
        CHECK(::pthread_getspecific(next) == &ours);
        CHECK(::pthread_key_delete(next) == 0);
    });
    CHECK(destroyed == 1);
}

TEST_CASE_FIXTURE(with_web, "a deadline ends SSL_read with an error of OpenSSL's") {
    const contexts all;
    exchange result;
    exchange next;
    bool expired = false;
    coir::run([&] {
        {
            coir::timeout limit{200ms};
            result = get(all.good.get(), web().tls_port, "/peer/never");
            expired = limit.expired();
        }
        next = get(all.good.get(), web().tls_port, "/small");
    });
    CHECK(expired);
    CHECK(result.handshake.result == 1);
    CHECK(result.end.error == SSL_ERROR_SYSCALL);
    CHECK(result.end.number == ETIMEDOUT);
    CHECK(next.body.ends_with("small\n"));
}

TEST_CASE_FIXTURE(with_web, "a deadline ends SSL_connect with an error of OpenSSL's") {
    const contexts all;
    // A server that accepts, in its backlog, and says nothing.
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    socklen_t size = sizeof address;
    REQUIRE(::listen(listener, 10) == 0);
    REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    exchange result;
    coir::run([&] {
        coir::timeout limit{200ms};
        result = get(all.good.get(), ntohs(address.sin_port), "/");
    });
    CHECK(result.handshake.error == SSL_ERROR_SYSCALL);
    CHECK(result.handshake.number == ETIMEDOUT);
    ::close(listener);
}

TEST_CASE_FIXTURE(with_web, "cancellation ends SSL_read with an error of OpenSSL's") {
    const contexts all;
    exchange result;
    coir::run([&] {
        coir::fiber reading{[&] { result = get(all.good.get(), web().tls_port, "/peer/never"); }};
        CHECK_FALSE(reading.join_for(200ms));
        reading.cancel();
        reading.join();
    });
    CHECK(result.handshake.result == 1);
    CHECK(result.end.error == SSL_ERROR_SYSCALL);
    CHECK(result.end.number == ECANCELED);
}

} // namespace clients
