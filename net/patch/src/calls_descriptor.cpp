// SPDX-License-Identifier: BSL-1.0
// The ways in which a descriptor's number is given up. Fibers that wait for it are woken first, and fail with EBADF:
// after the close the number may already mean something else. In a fiber or not, on any thread.
#include "descriptor_kind.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "own_descriptors.hpp"
#include "stdio_file.hpp"

#include <coir/net/readiness.hpp>

#include <fcntl.h>
#include <stdio_ext.h>
#include <sys/stat.h>

#include <cerrno>

namespace coir {

namespace {

void give_up(int fd) noexcept
{
    if (fd < 0)
        return;
    const int saved = errno;
    net::about_to_close(fd);
    forget_kind(fd);
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
    if (own_descriptors::contain(fd) && this_fiber::active())
        return refuse(EBADF); // as if it were not open
    give_up(fd);
    return libc.close(fd);
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
    if (first <= last && !(static_cast<unsigned>(flags) & ~unsigned{CLOSE_RANGE_UNSHARE})) {
        net::about_to_close_range(first, last);
        forget_kinds(first, last);
    }
    return own_descriptors::around(first, last,
                                   [=](unsigned from, unsigned to) { return libc.close_range(from, to, flags); });
}

COIR_INTERPOSE void closefrom(int first) noexcept
{
    const auto from = static_cast<unsigned>(first < 0 ? 0 : first);
    net::about_to_close_range(from, ~0U);
    forget_kinds(from, ~0U);
    if (own_descriptors::ours.last < first)
        libc.closefrom(first);
    else
        own_descriptors::around(from, ~0U,
                                [](unsigned start, unsigned end) { return libc.close_range(start, end, 0); });
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

COIR_INTERPOSE int closedir(DIR* directory)
{
    give_up(::dirfd(directory));
    return libc.closedir(directory);
}

} // namespace coir
