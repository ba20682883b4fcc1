// SPDX-License-Identifier: BSL-1.0
#include "open_socket.hpp"

#include "attempt.hpp"

#include <coir/fiber.hpp>
#include <coir/outside_fiber.hpp>

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <chrono>

namespace coir::net {

unique_fd open_socket(int family, int type, int protocol, error_code& ec) noexcept
{
    unique_fd made{::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)};
    ec = made ? error_code{} : system_error(errno);
    return made;
}

void set_nonblocking(int descriptor, bool on, error_code& ec) noexcept
{
    const int flags = ::fcntl(descriptor, F_GETFL);
    const bool done = flags >= 0 && ::fcntl(descriptor, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0;
    ec = done ? error_code{} : system_error(errno);
}

void connect_socket(int socket, const sockaddr* to, socklen_t size, error_code& ec)
{
    using namespace std::chrono_literals;
    for (auto pause = 100us;; pause = std::min(2 * pause, std::chrono::microseconds{10ms})) {
        bool no_room = false;
        // Calling it again asks for the outcome, and does not take an error away that nobody then hears of.
        attempt(socket, POLLOUT, ec, [&] {
            const outside_fiber not_ours;
            if (::connect(socket, to, size) == 0 || errno == EISCONN)
                return 0;
            // A Unix socket whose listener has a full backlog: the kernel tells nobody when there is room.
            no_room = errno == EAGAIN;
            if (no_room)
                return 0;
            if (errno == EINPROGRESS || errno == EALREADY)
                errno = EAGAIN;
            return -1;
        });
        if (!no_room)
            return;
        this_fiber::sleep_for(pause);
    }
}

void listen_socket(int socket, const sockaddr* at, socklen_t size, int backlog, error_code& ec) noexcept
{
    const bool done = ::bind(socket, at, size) == 0 && ::listen(socket, backlog) == 0;
    ec = done ? error_code{} : system_error(errno);
}

void set_flag(int socket, int level, int option, bool on, error_code& ec) noexcept
{
    const int value = on;
    if (!ec.failed() && ::setsockopt(socket, level, option, &value, sizeof value) != 0)
        ec = system_error(errno);
}

} // namespace coir::net
