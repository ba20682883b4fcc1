// SPDX-License-Identifier: BSL-1.0
// Opening what makes one wait: a named pipe waits for its other end. A fiber opens it with O_NONBLOCK, which the file
// it gets does not keep, and looks for the other end now and then: the kernel tells nobody who is not in open.
#include "blocking.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"

#include <coir/wait_queue.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstring>

namespace coir {

namespace {

/// Longer and longer, up to 10 ms. False if the fiber is cut off: errno says how.
class pauses {
public:
    bool wait() noexcept
    {
        pause_ = std::min(2 * pause_, std::chrono::microseconds{10'000});
        const auto cause = park_until({.reason = {"the other end of a named pipe"},
                                       .deadline = deadline_after(pause_),
                                       .signals = ends_by_signal::unless_restarted});
        errno = errno_of(cause);
        return cause == wake_cause::timed_out;
    }

private:
    std::chrono::microseconds pause_{50};
};

bool is_fifo(int directory, const char* path, int flags) noexcept
{
    struct stat status;
    const int before = errno;
    const bool fifo = ::fstatat(directory, path, &status, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0) == 0 &&
                      S_ISFIFO(status.st_mode);
    errno = before;
    return fifo;
}

bool may_wait(int flags) noexcept
{
    const int access = flags & O_ACCMODE;
    return (access == O_RDONLY || access == O_WRONLY) && !(flags & (O_NONBLOCK | O_PATH | O_DIRECTORY)) &&
           (flags & O_TMPFILE) != O_TMPFILE;
}

/// Whether somebody has the pipe open for writing, or has had since it was opened here. Takes nothing out of it: tee
/// says "nothing" where there is no writer, and "not now" where there is one.
bool writer_has_come(int fd, int scratch) noexcept
{
    pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
    if (libc.poll(&one, 1, 0) != 0)
        return true;
    return libc.tee(fd, scratch, 1, SPLICE_F_NONBLOCK) != 0;
}

int wait_for_writer(int fd) noexcept
{
    int scratch[2];
    if (::pipe2(scratch, O_CLOEXEC) != 0)
        return -1;
    bool come = false;
    for (pauses pause; !(come = writer_has_come(fd, scratch[1])) && pause.wait();)
        continue;
    const int error = errno;
    libc.close(scratch[0]);
    libc.close(scratch[1]);
    errno = error;
    return come ? 0 : -1;
}

int open_fifo(int directory, const char* path, int flags, mode_t mode) noexcept
{
    const int before = errno;
    int fd = libc.openat(directory, path, flags | O_NONBLOCK, mode);
    for (pauses pause; fd < 0 && errno == ENXIO && (flags & O_ACCMODE) == O_WRONLY;) {
        if (!pause.wait())
            return -1;
        fd = libc.openat(directory, path, flags | O_NONBLOCK, mode);
    }
    if (fd < 0)
        return -1;
    if ((flags & O_ACCMODE) == O_RDONLY && wait_for_writer(fd) != 0) {
        const int error = errno;
        libc.close(fd);
        errno = error;
        return -1;
    }
    libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK);
    errno = before;
    return fd;
}

int open_at(int directory, const char* path, int flags, mode_t mode)
{
    if (outside() || !may_wait(flags) || !is_fifo(directory, path, flags))
        return libc.openat(directory, path, flags, mode);
    return open_fifo(directory, path, flags, mode);
}

/// What open's last argument is: there, if the flags say so.
mode_t mode_of(int flags, std::va_list rest) noexcept
{
    const bool creates = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
    return creates ? va_arg(rest, mode_t) : 0;
}

/// What fopen's mode means to open, for a named pipe that is opened at one end; -1 for anything else.
int one_way_flags(const char* mode) noexcept
{
    if (std::strpbrk(mode, "+x,"))
        return -1;
    const int cloexec = std::strchr(mode, 'e') ? O_CLOEXEC : 0;
    switch (*mode) {
    case 'r': return O_RDONLY | cloexec;
    case 'w': return O_WRONLY | cloexec;
    case 'a': return O_WRONLY | O_APPEND | cloexec;
    default: return -1;
    }
}

FILE* open_file(const char* path, const char* mode, libc_function<FILE*(const char*, const char*)>& genuine)
{
    const int flags = one_way_flags(mode);
    if (outside() || flags < 0 || !is_fifo(AT_FDCWD, path, 0))
        return genuine(path, mode);
    const int fd = open_fifo(AT_FDCWD, path, flags, 0);
    if (fd < 0)
        return nullptr;
    FILE* const file = ::fdopen(fd, mode);
    if (!file)
        libc.close(fd);
    return file;
}

} // namespace

COIR_INTERPOSE int open(const char* path, int flags, ...)
{
    std::va_list rest;
    va_start(rest, flags);
    const mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}

COIR_INTERPOSE int open64(const char* path, int flags, ...)
{
    std::va_list rest;
    va_start(rest, flags);
    const mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}

COIR_INTERPOSE int openat(int directory, const char* path, int flags, ...)
{
    std::va_list rest;
    va_start(rest, flags);
    const mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(directory, path, flags, mode);
}

COIR_INTERPOSE int openat64(int directory, const char* path, int flags, ...)
{
    std::va_list rest;
    va_start(rest, flags);
    const mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(directory, path, flags, mode);
}

// Fortified twins: for calls without a mode. Flags that need one are for the genuine one, which aborts.

COIR_INTERPOSE int __open_2(const char* path, int flags)
{
    return outside() || !may_wait(flags) || flags & O_CREAT ? libc.open_2(path, flags)
                                                            : open_at(AT_FDCWD, path, flags, 0);
}

COIR_INTERPOSE int __open64_2(const char* path, int flags)
{
    return coir::__open_2(path, flags);
}

COIR_INTERPOSE int __openat_2(int directory, const char* path, int flags)
{
    return outside() || !may_wait(flags) || flags & O_CREAT ? libc.openat_2(directory, path, flags)
                                                            : open_at(directory, path, flags, 0);
}

COIR_INTERPOSE int __openat64_2(int directory, const char* path, int flags)
{
    return coir::__openat_2(directory, path, flags);
}

COIR_INTERPOSE FILE* fopen(const char* path, const char* mode)
{
    return open_file(path, mode, libc.fopen);
}

COIR_INTERPOSE FILE* fopen64(const char* path, const char* mode)
{
    return open_file(path, mode, libc.fopen64);
}

} // namespace coir
