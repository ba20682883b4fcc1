// SPDX-License-Identifier: BSL-1.0
// connect and accept, for which the kernel has no per-call flag.
#include "blocking.hpp"
#include "descriptor_kind.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "program_flags.hpp"
#include "socket_answers.hpp"
#include "socket_io.hpp"

#include <fcntl.h>
#include <netinet/tcp.h>

namespace coir {

namespace {

/// The one place where a descriptor is O_NONBLOCK, for the length of one system call that does not wait: connect and
/// accept know no other way.
template <class Call> int with_nonblock(int fd, int flags, Call&& call) noexcept
{
    libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    const int result = call();
    const int error = errno;
    libc.fcntl(fd, F_SETFL, flags);
    errno = error;
    return result;
}

// ---- connect --------------------------------------------------------------------------------------------------------

/// Nothing else of this thread runs meanwhile.
int start_connecting(int fd, int flags, const sockaddr* address, socklen_t size) noexcept
{
    return with_nonblock(fd, flags, [&] { return libc.connect(fd, address, size); });
}

/// The outcome is fetched by connecting again: that is what puts the kernel's socket into the state in which a blocking
/// connect leaves it. (Asking for SO_ERROR would take the error and leave the socket half way.)
int finish_connecting(int fd, int flags, const sockaddr* address, socklen_t size) noexcept
{
    const int on_time_out = errno; // SO_SNDTIMEO ran out: EINPROGRESS, or EALREADY in a second call
    for (blocked_call call{fd, direction::write}; call.wait();) {
        const int result = start_connecting(fd, flags, address, size);
        if (result == 0 || errno == EISCONN)
            return 0;
        if (errno != EINPROGRESS && errno != EALREADY)
            return result;
    }
    if (would_block(errno))
        errno = on_time_out;
    return -1;
}

/// A Unix socket whose peer has no room in its backlog. The kernel tells nobody when there is: try again, now and then.
int connect_when_there_is_room(int fd, int flags, const sockaddr* address, socklen_t size) noexcept
{
    const auto deadline = socket_deadline(fd, direction::write);
    for (unsigned times = 0;; ++times) {
        const auto status = wait_unannounced(fd, deadline, times);
        if (status == net::wait_status::unsupported)
            return on_helper([&] { return libc.connect(fd, address, size); });
        if (const int error = error_of(status, EAGAIN)) {
            errno = error;
            return -1;
        }
        const int result = start_connecting(fd, flags, address, size);
        if (result == 0 || !would_block(errno))
            return result;
    }
}

int connect_in_fiber(int fd, const sockaddr* address, socklen_t size) noexcept
{
    const int before = errno;
    const int flags = libc.fcntl(fd, F_GETFL, 0);
    if (flags < 0 || flags & O_NONBLOCK)
        return libc.connect(fd, address, size);
    int result = start_connecting(fd, flags, address, size);
    if (result == 0)
        return 0;
    // A second connect while the first is on its way waits for it, in blocking mode.
    if (errno == EINPROGRESS || errno == EALREADY)
        result = finish_connecting(fd, flags, address, size);
    else if (would_block(errno))
        result = connect_when_there_is_room(fd, flags, address, size);
    if (result == 0)
        errno = before;
    return result;
}

// ---- accept ---------------------------------------------------------------------------------------------------------

/// What there is: a connection that waits to be accepted, an error to be reported, the end of listening.
short to_accept(int fd) noexcept
{
    pollfd one{.fd = fd, .events = POLLIN | POLLRDHUP, .revents = 0};
    return libc.poll(&one, 1, 0) < 0 ? POLLERR : one.revents; // no more descriptors: then accept says so
}

/// Accepts what poll has announced, without waiting: another process may be faster, and a call that then waited would
/// hold this thread until somebody connects. The flag is on for the length of one system call. (A short SO_RCVTIMEO
/// would do as well, but Linux hands that down to the connections that arrive meanwhile; the flag it does not.)
template <class Accept> int accept_announced(int fd, Accept&& genuine) noexcept
{
    const flags_changed meanwhile;
    const int flags = libc.fcntl(fd, F_GETFL, 0);
    if (flags < 0 || flags & O_NONBLOCK)
        return genuine();
    return with_nonblock(fd, flags, genuine);
}

/// On what does not listen, accept does not wait but fails, each kind in its own way.
bool listens(int fd) noexcept
{
    int answer = 0;
    socklen_t size = sizeof answer;
    return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &answer, &size) == 0 && answer;
}

template <class Accept> int accept_in_fiber(int fd, int flags, Accept&& genuine) noexcept
{
    if (answer_for(fd) < socket_answer::listens && !listens(fd))
        return genuine();
    const int connection = blocking(fd, direction::read, [&] {
        const auto announced = to_accept(fd);
        // A Unix socket that has been shut down says so only to who would wait, and then does not wait.
        if (announced & POLLRDHUP)
            return genuine();
        if (announced)
            return accept_announced(fd, genuine);
        errno = EAGAIN;
        return -1;
    });
    if (connection >= 0) {
        set_kind(connection, descriptor_kind::socket);
        remember_accepted(fd, connection, flags & SOCK_NONBLOCK);
    }
    return connection;
}

} // namespace

COIR_INTERPOSE int connect(int fd, const sockaddr* address, socklen_t size)
{
    const auto number = static_cast<unsigned>(fd);
    forget_socket_answers(number, number); // it may have been a listener
    return outside() ? libc.connect(fd, address, size) : connect_in_fiber(fd, address, size);
}

COIR_INTERPOSE int setsockopt(int fd, int level, int option, const void* value, socklen_t size) noexcept
{
    if (level == SOL_SOCKET && option == SO_RCVLOWAT)
        low_water_in_use.store(true, std::memory_order_relaxed);
    if (level == IPPROTO_TCP && option == TCP_ULP)
        records_in_use.store(true, std::memory_order_relaxed);
    const int result = libc.setsockopt(fd, level, option, value, size);
    if (level == SOL_SOCKET && (option == SO_RCVTIMEO_OLD || option == SO_RCVTIMEO_NEW))
        forget_socket_answers();
    return result;
}

COIR_INTERPOSE int accept(int fd, sockaddr* address, socklen_t* size)
{
    if (outside())
        return libc.accept(fd, address, size);
    return accept_in_fiber(fd, 0, [&] { return libc.accept(fd, address, size); });
}

COIR_INTERPOSE int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
{
    if (outside())
        return libc.accept4(fd, address, size, flags);
    if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
        return libc.accept4(fd, address, size, flags); // EINVAL
    return accept_in_fiber(fd, flags, [&] { return libc.accept4(fd, address, size, flags); });
}

} // namespace coir
