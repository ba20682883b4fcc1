// SPDX-License-Identifier: BSL-1.0
#include "server.hpp"
#include "io.hpp"

#include <coir/fiber.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <thread>

#include <sys/socket.h>

namespace {

/// Some text, of a length that depends on the path: 4 to 8 KiB.
std::string page(std::string_view path)
{
    std::size_t length = 4096;
    for (const char c : path)
        length = 4096 + (length * 31 + static_cast<unsigned char>(c)) % 4096;
    auto text = fmt::format("This is {}. ", path);
    while (text.size() < length)
        text += "All work and no wait makes a dull fiber. ";
    text.resize(length);
    return text;
}

/// One side of a connection, read up to the blank line after each request's head.
class requests {
public:
    explicit requests(int socket) : socket_{socket} {}

    /// The path of the next request; nothing when the client has gone.
    std::optional<std::string> next()
    {
        std::size_t end = 0;
        while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
            char chunk[2048];
            const auto size = ::recv(socket_, chunk, sizeof chunk, 0);
            if (size <= 0 || buffer_.size() > 65536)
                return std::nullopt;
            buffer_.append(chunk, static_cast<std::size_t>(size));
        }
        const auto begin = buffer_.find(' ') + 1; // GET /path HTTP/1.1
        auto path = buffer_.substr(begin, buffer_.find_first_of(" \r", begin) - begin);
        buffer_.erase(0, end + 4);
        return path;
    }

private:
    int socket_;
    std::string buffer_;
};

void answer(unique_fd socket)
{
    requests incoming{socket.get()};
    while (const auto path = incoming.next()) {
        std::this_thread::sleep_for(answer_time); // the database, the other service, the disk
        const auto text = page(*path);
        const auto reply = fmt::format("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{}",
                                       text.size(), text);
        for (std::string_view rest = reply; !rest.empty();) {
            const auto sent = ::send(socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
            if (sent < 0)
                return;
            rest.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
}

void accept_connections(int listener)
{
    for (;;) {
        unique_fd socket{::accept(listener, nullptr, nullptr)};
        if (socket.get() >= 0)
            coir::fiber{{.name = "connection"}, answer, std::move(socket)}.detach();
        else if (errno == ECANCELED) // by serve(), below
            return;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            std::this_thread::sleep_for(answer_time); // until others have finished
        else if (errno != EINTR && errno != ECONNABORTED)
            checked(-1, "accept");
    }
}

} // namespace

void serve(int listener, int lifeline)
{
    coir::run([&] {
        coir::fiber acceptor{{.name = "acceptor"}, accept_connections, listener};
        char byte;
        while (::read(lifeline, &byte, 1) > 0)
            ; // nobody writes: this ends when the other end is closed
        acceptor.cancel();
    });
}
