// SPDX-License-Identifier: BSL-1.0
// The ways in which a descriptor's number is given up. Fibers that wait for it are woken first, and fail with EBADF:
// after the close the number may already mean something else. In a fiber or not, on any thread.
#include "descriptor_kind.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "own_descriptors.hpp"
#include "socket_answers.hpp"
#include "stdio_file.hpp"

#include <coir/net/readiness.hpp>
#include <coir/own_descriptors.hpp>

#include <fcntl.h>
#include <stdio_ext.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <cstdarg>

namespace coir {

namespace {

void give_up(int fd) noexcept
{
    if (fd < 0)
        return;
    const int saved = errno;
    net::about_to_close(fd);
    forget_kind(fd);
    forget_socket_answers(static_cast<unsigned>(fd), static_cast<unsigned>(fd));
    errno = saved;
}

void give_up_range(unsigned first, unsigned last) noexcept
{
    net::about_to_close_range(first, last);
    forget_kinds(first, last);
    forget_socket_answers(first, last);
}

void close_each(unsigned first, unsigned last) noexcept
{
    const int saved = errno;
    if (libc.close_range(first, last, 0) != 0) // before Linux 5.9
        for (; first <= last; ++first)
            libc.close(static_cast<int>(first));
    errno = saved;
}

/// dup2 and dup3 close their target, but only if the source is good.
void give_up_target(int source, int target) noexcept
{
    const int saved = errno;
    if (source != target && ::fcntl(source, F_GETFD) >= 0)
        give_up(target);
    errno = saved;
}

int write_rest(FILE* file) noexcept
{
    if (outside() || !may_wait(file) || locked_by_program(file))
        return 0;
    const stdio_turn turn{file};
    const int result = flush_in_fiber(file);
    if (result != 0)
        ::__fpurge(file);
    return result;
}

/// Before a FILE is closed: wakes who waits for it. In a fiber, writes what it still holds, when the others have left
/// it. What cannot be written because the fiber is cut off is lost, as after any failed write.
int give_up_file(FILE* file) noexcept
{
    give_up(::fileno(file));
    const int result = write_rest(file);
    give_up(::fileno(file)); // again: writing has asked what the descriptor is, and may have waited for it
    return result;
}

/// The genuine one closes, and opens what may be a named pipe, which can be waited for only on a helper.
FILE* reopen(const char* path, const char* mode, FILE* file,
             libc_function<FILE*(const char*, const char*, FILE*)>& genuine)
{
    give_up_file(file);
    struct stat status;
    const int before = errno;
    const bool fifo = !outside() && path && ::stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
    errno = before;
    return fifo ? on_helper([&] { return genuine(path, mode, file); }) : genuine(path, mode, file);
}

int refuse(int error) noexcept
{
    errno = error;
    return -1;
}

} // namespace

COIR_INTERPOSE int close(int fd)
{
    if (own_descriptors::contain(fd)) {
        if (!own_descriptors_scope::active())
            return refuse(EBADF); // as if it were not open
        own_descriptors::forget(fd);
    }
    give_up(fd);
    return libc.close(fd);
}

// What the hubs are made of. Opened by others, these are libc's.

COIR_INTERPOSE int epoll_create1(int flags) noexcept
{
    const int made = libc.epoll_create1(flags);
    return own_descriptors_scope::active() ? own_descriptors::keep(made) : made;
}

COIR_INTERPOSE int eventfd(unsigned value, int flags) noexcept
{
    const int made = libc.eventfd(value, flags);
    return own_descriptors_scope::active() ? own_descriptors::keep(made) : made;
}

COIR_INTERPOSE int timerfd_create(int clock, int flags) noexcept
{
    const int made = libc.timerfd_create(clock, flags);
    return own_descriptors_scope::active() ? own_descriptors::keep(made) : made;
}

COIR_INTERPOSE int dup2(int source, int target) noexcept
{
    if (own_descriptors::contain(target) && source != target)
        return refuse(EBUSY);
    give_up_target(source, target);
    return libc.dup2(source, target);
}

COIR_INTERPOSE int dup3(int source, int target, int flags) noexcept
{
    if (own_descriptors::contain(target) && source != target)
        return refuse(EBUSY);
    give_up_target(source, target);
    return libc.dup3(source, target, flags);
}

COIR_INTERPOSE int close_range(unsigned first, unsigned last, int flags) noexcept
{
    // With CLOSE_RANGE_CLOEXEC nothing is closed yet, and with a flag that the kernel does not know nothing at all.
    const bool closes = !(static_cast<unsigned>(flags) & ~unsigned{CLOSE_RANGE_UNSHARE});
    return own_descriptors::around(first, last, [=](unsigned from, unsigned to) {
        if (closes && from <= to)
            give_up_range(from, to);
        return libc.close_range(from, to, flags);
    });
}

COIR_INTERPOSE void closefrom(int first) noexcept
{
    const auto from = static_cast<unsigned>(first < 0 ? 0 : first);
    own_descriptors::around(from, ~0U, [](unsigned start, unsigned end) {
        give_up_range(start, end);
        if (end == ~0U)
            libc.closefrom(static_cast<int>(start));
        else
            close_each(start, end);
        return 0;
    });
}

// These close their descriptor inside libc, where no call of close can be seen.

COIR_INTERPOSE int fclose(FILE* file)
{
    const int failed = give_up_file(file);
    const int error = errno;
    const int result = libc.fclose(file);
    if (failed)
        errno = error;
    return failed ? EOF : result;
}

COIR_INTERPOSE int pclose(FILE* file)
{
    give_up_file(file);
    return outside() ? libc.pclose(file) : on_helper([&] { return libc.pclose(file); });
}

COIR_INTERPOSE FILE* freopen(const char* path, const char* mode, FILE* file)
{
    return reopen(path, mode, file, libc.freopen);
}

COIR_INTERPOSE FILE* freopen64(const char* path, const char* mode, FILE* file)
{
    return reopen(path, mode, file, libc.freopen64);
}

/// Not for the address sanitizer: it takes the argument that was not passed for an overrun of the caller's stack.
COIR_INTERPOSE [[gnu::no_sanitize_address]] int ioctl(int fd, unsigned long request, ...) noexcept
{
    std::va_list list;
    va_start(list, request);
    void* const argument = va_arg(list, void*);
    va_end(list);
    const int result = libc.ioctl(fd, request, argument);
    if (request == FIONBIO)
        forget_socket_answers();
    return result;
}

COIR_INTERPOSE int closedir(DIR* directory)
{
    give_up(::dirfd(directory));
    return libc.closedir(directory);
}

} // namespace coir
