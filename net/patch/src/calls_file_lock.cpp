// SPDX-License-Identifier: BSL-1.0
// Locks on files: fcntl, flock, lockf. The kernel tells nobody but who waits in it when one becomes free, and a helper
// thread that waits there could not be called back. So a fiber tries, and tries again after a while.
#include "blocking.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "socket_answers.hpp"

#include <coir/wait_queue.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>

namespace coir {

namespace {

bool taken(int error) noexcept
{
    return error == EAGAIN || error == EACCES;
}

/// `try_once` takes the lock or fails with EAGAIN or EACCES.
template <class Try> int lock_in_fiber(int fd, Try&& try_once) noexcept
{
    const int before = errno;
    for (auto pause = std::chrono::microseconds{100};; pause = std::min(2 * pause, std::chrono::microseconds{10'000})) {
        const int result = try_once();
        if (result != -1)
            errno = before;
        if (result != -1 || !taken(errno))
            return result;
        const auto cause = park_until({.reason = {"file lock", nullptr, fd},
                                       .deadline = deadline_after(pause),
                                       .signals = ends_by_signal::unless_restarted});
        if (cause == wake_cause::timed_out || cause == wake_cause::notified)
            continue;
        errno = errno_of(cause);
        return -1;
    }
}

int control(int fd, int command, long argument)
{
    const bool waits = command == F_SETLKW || command == F_OFD_SETLKW;
    if (outside() || !waits) {
        const int result = libc.fcntl(fd, command, argument);
        if (command == F_SETFL)
            forget_socket_answers();
        return result;
    }
    const int without_waiting = command == F_SETLKW ? F_SETLK : F_OFD_SETLK;
    return lock_in_fiber(fd, [&] { return libc.fcntl(fd, without_waiting, argument); });
}

} // namespace

// Whatever the command, the argument is passed on as a long, as libc itself does.

/// Not for the address sanitizer: it takes the argument that was not passed for an overrun of the caller's stack.
COIR_INTERPOSE [[gnu::no_sanitize_address]] int fcntl(int fd, int command, ...)
{
    std::va_list list;
    va_start(list, command);
    const long argument = va_arg(list, long);
    va_end(list);
    return control(fd, command, argument);
}

COIR_INTERPOSE [[gnu::no_sanitize_address]] int fcntl64(int fd, int command, ...)
{
    std::va_list list;
    va_start(list, command);
    const long argument = va_arg(list, long);
    va_end(list);
    return control(fd, command, argument);
}

COIR_INTERPOSE int flock(int fd, int operation) noexcept
{
    if (outside() || operation & (LOCK_NB | LOCK_UN))
        return libc.flock(fd, operation);
    return lock_in_fiber(fd, [&] { return libc.flock(fd, operation | LOCK_NB); });
}

COIR_INTERPOSE int lockf64(int fd, int command, off64_t size)
{
    if (outside() || command != F_LOCK)
        return libc.lockf(fd, command, size);
    return lock_in_fiber(fd, [&] { return libc.lockf(fd, F_TLOCK, size); });
}

COIR_INTERPOSE int lockf(int fd, int command, off_t size)
{
    return coir::lockf64(fd, command, size);
}

} // namespace coir
