// SPDX-License-Identifier: BSL-1.0
// A server for the tests, of blocking threads, one for each connection. It can do what nginx cannot: wait.
//
//     peer HTTP_PORT TLS_PORT CERTIFICATE KEY
//
//     GET /slow?of=N     "slow\n", 0.2 s after N such requests are here at the same time
//     GET /never         no answer, until the client leaves
//     GET /cut           an answer that breaks off in the middle; over TLS, without close_notify
//     GET /hold          no answer; after /release the connection is closed properly, over TLS with close_notify
//     GET /release       "N\n", the number of those that are closed now
//     POST /sum          "SIZE SUM\n" of what was sent
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace {

using namespace std::chrono_literals;

// ---- waiting for each other -----------------------------------------------------------------------------------------

std::mutex mutex;
std::condition_variable changed;

/// Until `number` are in here at once. False if they do not come.
bool gather(int number)
{
    struct room {
        int inside = 0;
        int generation = 0;
    };
    static std::map<int, room> rooms;
    std::unique_lock lock{mutex};
    auto& mine = rooms[number];
    if (++mine.inside == number) {
        mine.inside = 0;
        ++mine.generation;
        changed.notify_all();
        return true;
    }
    const int generation = mine.generation;
    if (changed.wait_for(lock, 120s, [&] { return mine.generation != generation; }))
        return true;
    --mine.inside;
    return false;
}

int held = 0;
int releases = 0;

void hold()
{
    std::unique_lock lock{mutex};
    ++held;
    changed.wait(lock, [before = releases] { return releases != before; });
}

int release()
{
    const std::lock_guard lock{mutex};
    ++releases;
    changed.notify_all();
    return std::exchange(held, 0);
}

// ---- one connection -------------------------------------------------------------------------------------------------

class connection {
public:
    connection(int socket, SSL_CTX* context) : socket_{socket}
    {
        const int on = 1;
        ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (context) {
            tls_ = SSL_new(context);
            SSL_set_fd(tls_, socket);
        }
    }
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    ~connection()
    {
        SSL_free(tls_);
        ::close(socket_);
    }

    void serve()
    {
        if (tls_ && SSL_accept(tls_) != 1)
            return;
        while (auto head = read_head())
            if (!answer(*head))
                return;
    }

private:
    bool fill()
    {
        char buffer[16384];
        const auto size =
            tls_ ? SSL_read(tls_, buffer, sizeof buffer) : static_cast<int>(::recv(socket_, buffer, sizeof buffer, 0));
        if (size <= 0)
            return false;
        input_.append(buffer, static_cast<std::size_t>(size));
        return true;
    }

    bool send(const std::string& text)
    {
        if (tls_)
            return SSL_write(tls_, text.data(), static_cast<int>(text.size())) > 0;
        return ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
    }

    bool send_ok(const std::string& body)
    {
        return send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    }

    void close_properly()
    {
        if (tls_)
            SSL_shutdown(tls_);
        ::shutdown(socket_, SHUT_WR);
    }

    std::optional<std::string> read_head()
    {
        for (;;) {
            if (const auto end = input_.find("\r\n\r\n"); end != std::string::npos) {
                auto head = input_.substr(0, end + 2);
                input_.erase(0, end + 4);
                return head;
            }
            if (!fill())
                return std::nullopt;
        }
    }

    std::optional<std::string> read_body(const std::string& head)
    {
        std::size_t size = 0;
        if (const auto field = head.find("Content-Length: "); field != std::string::npos)
            size = std::strtoul(head.c_str() + field + 16, nullptr, 10);
        while (input_.size() < size)
            if (!fill())
                return std::nullopt;
        auto body = input_.substr(0, size);
        input_.erase(0, size);
        return body;
    }

    /// False to close the connection.
    bool answer(const std::string& head)
    {
        const auto path = head.substr(head.find(' ') + 1, head.find(' ', head.find(' ') + 1) - head.find(' ') - 1);
        if (path.starts_with("/slow?of=")) {
            if (!gather(std::atoi(path.c_str() + 9)))
                return send("HTTP/1.1 503 Alone\r\nContent-Length: 0\r\n\r\n");
            std::this_thread::sleep_for(200ms);
            return send_ok("slow\n");
        }
        if (path == "/never")
            return fill() && false;
        if (path == "/cut")
            return send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + std::string(100, '.')) && false;
        if (path == "/hold") {
            hold();
            close_properly();
            return false;
        }
        if (path == "/release")
            return send_ok(std::to_string(release()) + "\n");
        if (path == "/sum") {
            const auto body = read_body(head);
            if (!body)
                return false;
            std::uint32_t sum = 0;
            for (char each : *body)
                sum = sum * 31 + static_cast<unsigned char>(each);
            return send_ok(std::to_string(body->size()) + " " + std::to_string(sum) + "\n");
        }
        return send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }

    int socket_;
    SSL* tls_ = nullptr;
    std::string input_;
};

// ---- the server -----------------------------------------------------------------------------------------------------

int listen_on(const char* port)
{
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, 4096) != 0) {
        std::perror("peer: listen");
        std::exit(1);
    }
    return listener;
}

[[noreturn]] void serve(int listener, SSL_CTX* context)
{
    for (;;) {
        const int socket = ::accept(listener, nullptr, nullptr);
        if (socket < 0) {
            std::perror("peer: accept");
            std::exit(1);
        }
        std::thread{[socket, context] { connection{socket, context}.serve(); }}.detach();
    }
}

} // namespace

int main(int count, char** arguments)
{
    if (count != 5)
        return 2;
    ::signal(SIGPIPE, SIG_IGN);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 20);
    pthread_setattr_default_np(&small);

    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_file(context, arguments[3], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, arguments[4], SSL_FILETYPE_PEM) != 1) {
        std::fprintf(stderr, "peer: cannot use %s\n", arguments[3]);
        return 1;
    }
    const int plain = listen_on(arguments[1]);
    const int tls = listen_on(arguments[2]);
    std::thread{[plain] { serve(plain, nullptr); }}.detach();
    serve(tls, context);
}
