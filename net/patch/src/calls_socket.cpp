// SPDX-License-Identifier: BSL-1.0
// connect and accept, for which the kernel has no per-call flag.
#include "blocking.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"

#include <fcntl.h>
#include <sys/time.h>

namespace coir {

namespace {

// ---- connect --------------------------------------------------------------------------------------------------------

/// The one place where a descriptor is O_NONBLOCK, for the length of one system call that does not wait: connect knows
/// no other way. Nothing else of this thread runs meanwhile.
int start_connecting(int fd, int flags, const sockaddr* address, socklen_t size) noexcept
{
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    const int result = libc.connect(fd, address, size);
    const int error = errno;
    ::fcntl(fd, F_SETFL, flags);
    errno = error;
    return result;
}

int finish_connecting(int fd) noexcept
{
    blocked_call call{fd, direction::write};
    if (!call.wait()) {
        if (would_block(errno)) // SO_SNDTIMEO ran out: connect(2) has its own word for that
            errno = EINPROGRESS;
        return -1;
    }
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -1;
    if (error == 0) {
        // Woken, but by what? Still on its way if there is neither an error nor a peer.
        sockaddr_storage peer;
        socklen_t peer_size = sizeof peer;
        if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0)
            return 0;
        return errno == ENOTCONN ? finish_connecting(fd) : -1;
    }
    errno = error;
    return -1;
}

int connect_in_fiber(int fd, const sockaddr* address, socklen_t size) noexcept
{
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || flags & O_NONBLOCK)
        return libc.connect(fd, address, size);
    const int result = start_connecting(fd, flags, address, size);
    if (result == 0)
        return 0;
    // A second connect while the first is on its way waits for it, in blocking mode.
    if (errno == EINPROGRESS || errno == EALREADY)
        return finish_connecting(fd);
    // A Unix socket whose peer has no room in its backlog: nothing to poll for, only the blocking call waits.
    if (would_block(errno))
        return on_helper([&] { return libc.connect(fd, address, size); });
    return result;
}

// ---- accept ---------------------------------------------------------------------------------------------------------

/// Whether a connection is waiting to be accepted, or an error to be reported.
bool something_to_accept(int fd) noexcept
{
    pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
    return libc.poll(&one, 1, 0) != 0;
}

/// Accepts what poll has announced. Another process may be faster; then SO_RCVTIMEO, which accept obeys, ends the call
/// after one tick of the kernel's clock instead of blocking this thread until somebody connects.
template <class Accept> int accept_announced(int fd, Accept&& genuine) noexcept
{
    timeval set_by_program{};
    socklen_t size = sizeof set_by_program;
    const timeval shortest{.tv_sec = 0, .tv_usec = 1};
    if (::getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &set_by_program, &size) != 0)
        return genuine();
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &shortest, sizeof shortest);
    const int result = genuine();
    const int error = errno;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &set_by_program, sizeof set_by_program);
    errno = error;
    return result;
}

template <class Accept> int accept_in_fiber(int fd, Accept&& genuine) noexcept
{
    return blocking(fd, direction::read, [&] {
        if (something_to_accept(fd))
            return accept_announced(fd, genuine);
        errno = EAGAIN;
        return -1;
    });
}

} // namespace

COIR_INTERPOSE int connect(int fd, const sockaddr* address, socklen_t size)
{
    return outside() ? libc.connect(fd, address, size) : connect_in_fiber(fd, address, size);
}

COIR_INTERPOSE int accept(int fd, sockaddr* address, socklen_t* size)
{
    if (outside())
        return libc.accept(fd, address, size);
    return accept_in_fiber(fd, [&] { return libc.accept(fd, address, size); });
}

COIR_INTERPOSE int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
{
    if (outside())
        return libc.accept4(fd, address, size, flags);
    return accept_in_fiber(fd, [&] { return libc.accept4(fd, address, size, flags); });
}

} // namespace coir
