// SPDX-License-Identifier: BSL-1.0
// `coir run --threads=fibers`: the calls in which pthread_cancel ends a thread, a row each; cancellation_point.hpp has
// what a row does. It calls the definition after it, which is libcoir-patch's or libc's, and nothing else where threads
// are threads. pthread_join and its kin are in fiber_threads.cpp.
//
// The calls are those of POSIX's list (XSH 2.9.5.2) that wait in coir, and what Linux has beside them; those that need
// not wait are points all the same. stdio and names are points only where they wait.
#include "cancellation_point.hpp"
#include "interpose.hpp"

#include <aio.h>
#include <cstdarg>
#include <cstdio>
#include <fcntl.h>
#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

extern "C" { // of <bits/*2.h>, which only fortified programs see
ssize_t __read_chk(int, void*, size_t, size_t);
ssize_t __recv_chk(int, void*, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void*, size_t, size_t, int, sockaddr*, socklen_t*);
int __poll_chk(pollfd*, nfds_t, int, size_t);
int __ppoll_chk(pollfd*, nfds_t, const timespec*, const sigset_t*, size_t);
char* __fgets_chk(char*, size_t, int, FILE*);
size_t __fread_chk(void*, size_t, size_t, size_t, FILE*);
}

namespace coir {

namespace {

bool opens_with_mode(int flags) noexcept
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

/// The argument after the last named one, if there is one.
template <class Value> Value optional_argument(bool present, va_list rest) noexcept
{
    return present ? va_arg(rest, Value) : Value{};
}

} // namespace

// ---- reading and writing --------------------------------------------------------------------------------------------

COIR_INTERPOSE ssize_t read(int fd, void* data, size_t size)
{
    return point<"read", decltype(::read)>(fd, data, size);
}

COIR_INTERPOSE ssize_t readv(int fd, const iovec* parts, int count)
{
    return point<"readv", decltype(::readv)>(fd, parts, count);
}

COIR_INTERPOSE ssize_t preadv2(int fd, const iovec* parts, int count, off_t position, int flags)
{
    return point<"preadv2", decltype(::preadv2)>(fd, parts, count, position, flags);
}

COIR_INTERPOSE ssize_t preadv64v2(int fd, const iovec* parts, int count, off64_t position, int flags)
{
    return point<"preadv64v2", decltype(::preadv64v2)>(fd, parts, count, position, flags);
}

COIR_INTERPOSE ssize_t write(int fd, const void* data, size_t size)
{
    return point<"write", decltype(::write)>(fd, data, size);
}

COIR_INTERPOSE ssize_t writev(int fd, const iovec* parts, int count)
{
    return point<"writev", decltype(::writev)>(fd, parts, count);
}

COIR_INTERPOSE ssize_t pwritev2(int fd, const iovec* parts, int count, off_t position, int flags)
{
    return point<"pwritev2", decltype(::pwritev2)>(fd, parts, count, position, flags);
}

COIR_INTERPOSE ssize_t pwritev64v2(int fd, const iovec* parts, int count, off64_t position, int flags)
{
    return point<"pwritev64v2", decltype(::pwritev64v2)>(fd, parts, count, position, flags);
}

COIR_INTERPOSE ssize_t recv(int fd, void* data, size_t size, int flags)
{
    return point<"recv", decltype(::recv)>(fd, data, size, flags);
}

COIR_INTERPOSE ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* from_size)
{
    return point<"recvfrom", decltype(::recvfrom)>(fd, data, size, flags, from, from_size);
}

COIR_INTERPOSE ssize_t recvmsg(int fd, msghdr* message, int flags)
{
    return point<"recvmsg", decltype(::recvmsg)>(fd, message, flags);
}

COIR_INTERPOSE int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* time)
{
    return point<"recvmmsg", decltype(::recvmmsg)>(fd, messages, count, flags, time);
}

COIR_INTERPOSE ssize_t send(int fd, const void* data, size_t size, int flags)
{
    return point<"send", decltype(::send)>(fd, data, size, flags);
}

COIR_INTERPOSE ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size)
{
    return point<"sendto", decltype(::sendto)>(fd, data, size, flags, to, to_size);
}

COIR_INTERPOSE ssize_t sendmsg(int fd, const msghdr* message, int flags)
{
    return point<"sendmsg", decltype(::sendmsg)>(fd, message, flags);
}

COIR_INTERPOSE int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags)
{
    return point<"sendmmsg", decltype(::sendmmsg)>(fd, messages, count, flags);
}

COIR_INTERPOSE ssize_t splice(int from, off64_t* from_position, int to, off64_t* to_position, size_t size,
                              unsigned flags)
{
    return point<"splice", decltype(::splice)>(from, from_position, to, to_position, size, flags);
}

COIR_INTERPOSE ssize_t tee(int from, int to, size_t size, unsigned flags)
{
    return point<"tee", decltype(::tee)>(from, to, size, flags);
}

COIR_INTERPOSE ssize_t vmsplice(int fd, const iovec* parts, size_t count, unsigned flags)
{
    return point<"vmsplice", decltype(::vmsplice)>(fd, parts, count, flags);
}

COIR_INTERPOSE ssize_t __read_chk(int fd, void* data, size_t size, size_t room)
{
    return point<"__read_chk", decltype(::__read_chk)>(fd, data, size, room);
}

COIR_INTERPOSE ssize_t __recv_chk(int fd, void* data, size_t size, size_t room, int flags)
{
    return point<"__recv_chk", decltype(::__recv_chk)>(fd, data, size, room, flags);
}

COIR_INTERPOSE ssize_t __recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags, sockaddr* from,
                                      socklen_t* from_size)
{
    return point<"__recvfrom_chk", decltype(::__recvfrom_chk)>(fd, data, size, room, flags, from, from_size);
}

COIR_INTERPOSE int fsync(int fd)
{
    return point<"fsync", decltype(::fsync), what_is_done>(fd);
}

COIR_INTERPOSE int fdatasync(int fd)
{
    return point<"fdatasync", decltype(::fdatasync), what_is_done>(fd);
}

COIR_INTERPOSE int msync(void* address, size_t size, int flags)
{
    return point<"msync", decltype(::msync), what_is_done>(address, size, flags);
}

// ---- descriptors ----------------------------------------------------------------------------------------------------

COIR_INTERPOSE int accept(int fd, sockaddr* address, socklen_t* size)
{
    return point<"accept", decltype(::accept), a_descriptor>(fd, address, size);
}

COIR_INTERPOSE int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
{
    return point<"accept4", decltype(::accept4), a_descriptor>(fd, address, size, flags);
}

COIR_INTERPOSE int connect(int fd, const sockaddr* address, socklen_t size)
{
    return point<"connect", decltype(::connect)>(fd, address, size);
}

COIR_INTERPOSE int close(int fd)
{
    return point<"close", decltype(::close)>(fd);
}

COIR_INTERPOSE int lockf(int fd, int command, off_t size)
{
    return point<"lockf", decltype(::lockf)>(fd, command, size);
}

COIR_INTERPOSE int lockf64(int fd, int command, off64_t size)
{
    return point<"lockf64", decltype(::lockf64)>(fd, command, size);
}

// ---- readiness ------------------------------------------------------------------------------------------------------

COIR_INTERPOSE int poll(pollfd* items, nfds_t count, int timeout)
{
    return point<"poll", decltype(::poll)>(items, count, timeout);
}

COIR_INTERPOSE int ppoll(pollfd* items, nfds_t count, const timespec* timeout, const sigset_t* mask)
{
    return point<"ppoll", decltype(::ppoll)>(items, count, timeout, mask);
}

COIR_INTERPOSE int select(int count, fd_set* to_read, fd_set* to_write, fd_set* exceptional, timeval* timeout)
{
    return point<"select", decltype(::select)>(count, to_read, to_write, exceptional, timeout);
}

COIR_INTERPOSE int pselect(int count, fd_set* to_read, fd_set* to_write, fd_set* exceptional, const timespec* timeout,
                           const sigset_t* mask)
{
    return point<"pselect", decltype(::pselect)>(count, to_read, to_write, exceptional, timeout, mask);
}

COIR_INTERPOSE int epoll_wait(int fd, epoll_event* events, int count, int timeout)
{
    return point<"epoll_wait", decltype(::epoll_wait)>(fd, events, count, timeout);
}

COIR_INTERPOSE int epoll_pwait(int fd, epoll_event* events, int count, int timeout, const sigset_t* mask)
{
    return point<"epoll_pwait", decltype(::epoll_pwait)>(fd, events, count, timeout, mask);
}

COIR_INTERPOSE int epoll_pwait2(int fd, epoll_event* events, int count, const timespec* timeout, const sigset_t* mask)
{
    return point<"epoll_pwait2", decltype(::epoll_pwait2)>(fd, events, count, timeout, mask);
}

COIR_INTERPOSE int __poll_chk(pollfd* items, nfds_t count, int timeout, size_t room)
{
    return point<"__poll_chk", decltype(::__poll_chk)>(items, count, timeout, room);
}

COIR_INTERPOSE int __ppoll_chk(pollfd* items, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t room)
{
    return point<"__ppoll_chk", decltype(::__ppoll_chk)>(items, count, timeout, mask, room);
}

// ---- time, signals, children ----------------------------------------------------------------------------------------

COIR_INTERPOSE int nanosleep(const timespec* time, timespec* left)
{
    return point<"nanosleep", decltype(::nanosleep)>(time, left);
}

COIR_INTERPOSE int clock_nanosleep(clockid_t which, int flags, const timespec* time, timespec* left)
{
    return point<"clock_nanosleep", decltype(::clock_nanosleep)>(which, flags, time, left);
}

COIR_INTERPOSE int usleep(useconds_t microseconds)
{
    return point<"usleep", decltype(::usleep)>(microseconds);
}

COIR_INTERPOSE unsigned sleep(unsigned seconds)
{
    return point<"sleep", decltype(::sleep)>(seconds);
}

COIR_INTERPOSE int thrd_sleep(const timespec* time, timespec* left)
{
    return point<"thrd_sleep", decltype(::thrd_sleep)>(time, left);
}

COIR_INTERPOSE int pause()
{
    return point<"pause", decltype(::pause)>();
}

COIR_INTERPOSE int sigsuspend(const sigset_t* mask)
{
    return point<"sigsuspend", decltype(::sigsuspend)>(mask);
}

COIR_INTERPOSE int sigwait(const sigset_t* signals, int* which)
{
    return point<"sigwait", decltype(::sigwait)>(signals, which);
}

COIR_INTERPOSE int sigwaitinfo(const sigset_t* signals, siginfo_t* info)
{
    return point<"sigwaitinfo", decltype(::sigwaitinfo)>(signals, info);
}

COIR_INTERPOSE int sigtimedwait(const sigset_t* signals, siginfo_t* info, const timespec* time)
{
    return point<"sigtimedwait", decltype(::sigtimedwait)>(signals, info, time);
}

COIR_INTERPOSE pid_t wait(int* status)
{
    return point<"wait", decltype(::wait)>(status);
}

COIR_INTERPOSE pid_t waitpid(pid_t child, int* status, int flags)
{
    return point<"waitpid", decltype(::waitpid)>(child, status, flags);
}

COIR_INTERPOSE int waitid(idtype_t kind, id_t id, siginfo_t* info, int flags)
{
    return point<"waitid", decltype(::waitid)>(kind, id, info, flags);
}

COIR_INTERPOSE pid_t wait3(int* status, int flags, rusage* usage)
{
    return point<"wait3", decltype(::wait3)>(status, flags, usage);
}

COIR_INTERPOSE pid_t wait4(pid_t child, int* status, int flags, rusage* usage)
{
    return point<"wait4", decltype(::wait4)>(child, status, flags, usage);
}

COIR_INTERPOSE int system(const char* command)
{
    return point<"system", decltype(::system)>(command);
}

// ---- locks and queues -----------------------------------------------------------------------------------------------

COIR_INTERPOSE int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
{
    return point<"pthread_cond_wait", decltype(::pthread_cond_wait)>(condition, mutex);
}

COIR_INTERPOSE int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* time)
{
    return point<"pthread_cond_timedwait", decltype(::pthread_cond_timedwait)>(condition, mutex, time);
}

COIR_INTERPOSE int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t which,
                                          const timespec* time)
{
    return point<"pthread_cond_clockwait", decltype(::pthread_cond_clockwait)>(condition, mutex, which, time);
}

COIR_INTERPOSE int cnd_wait(cnd_t* condition, mtx_t* mutex)
{
    return point<"cnd_wait", decltype(::cnd_wait)>(condition, mutex);
}

COIR_INTERPOSE int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* time)
{
    return point<"cnd_timedwait", decltype(::cnd_timedwait)>(condition, mutex, time);
}

COIR_INTERPOSE int sem_wait(sem_t* semaphore)
{
    return point<"sem_wait", decltype(::sem_wait)>(semaphore);
}

COIR_INTERPOSE int sem_timedwait(sem_t* semaphore, const timespec* time)
{
    return point<"sem_timedwait", decltype(::sem_timedwait)>(semaphore, time);
}

COIR_INTERPOSE int sem_clockwait(sem_t* semaphore, clockid_t which, const timespec* time)
{
    return point<"sem_clockwait", decltype(::sem_clockwait)>(semaphore, which, time);
}

COIR_INTERPOSE ssize_t mq_receive(mqd_t queue, char* data, size_t size, unsigned* priority)
{
    return point<"mq_receive", decltype(::mq_receive)>(queue, data, size, priority);
}

COIR_INTERPOSE ssize_t mq_timedreceive(mqd_t queue, char* data, size_t size, unsigned* priority, const timespec* time)
{
    return point<"mq_timedreceive", decltype(::mq_timedreceive)>(queue, data, size, priority, time);
}

COIR_INTERPOSE int mq_send(mqd_t queue, const char* data, size_t size, unsigned priority)
{
    return point<"mq_send", decltype(::mq_send)>(queue, data, size, priority);
}

COIR_INTERPOSE int mq_timedsend(mqd_t queue, const char* data, size_t size, unsigned priority, const timespec* time)
{
    return point<"mq_timedsend", decltype(::mq_timedsend)>(queue, data, size, priority, time);
}

COIR_INTERPOSE ssize_t msgrcv(int queue, void* message, size_t size, long type, int flags)
{
    return point<"msgrcv", decltype(::msgrcv), what_is_done>(queue, message, size, type, flags);
}

COIR_INTERPOSE int msgsnd(int queue, const void* message, size_t size, int flags)
{
    return point<"msgsnd", decltype(::msgsnd), what_is_done>(queue, message, size, flags);
}

COIR_INTERPOSE int aio_suspend(const aiocb* const* list, int count, const timespec* time)
{
    return point<"aio_suspend", decltype(::aio_suspend), what_is_done>(list, count, time);
}

// ---- names, stdio ---------------------------------------------------------------------------------------------------

COIR_INTERPOSE int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result)
{
    return point_if_it_waits<"getaddrinfo", decltype(::getaddrinfo)>(node, service, hints, result);
}

COIR_INTERPOSE int getnameinfo(const sockaddr* address, socklen_t size, char* host, socklen_t host_size, char* service,
                               socklen_t service_size, int flags)
{
    return point_if_it_waits<"getnameinfo", decltype(::getnameinfo)>(address, size, host, host_size, service,
                                                                     service_size, flags);
}

COIR_INTERPOSE size_t fread(void* data, size_t size, size_t count, FILE* file)
{
    return point_if_it_waits<"fread", decltype(::fread)>(data, size, count, file);
}

COIR_INTERPOSE size_t __fread_chk(void* data, size_t room, size_t size, size_t count, FILE* file)
{
    return point_if_it_waits<"__fread_chk", decltype(::__fread_chk)>(data, room, size, count, file);
}

COIR_INTERPOSE char* fgets(char* data, int size, FILE* file)
{
    return point_if_it_waits<"fgets", decltype(::fgets)>(data, size, file);
}

COIR_INTERPOSE char* __fgets_chk(char* data, size_t room, int size, FILE* file)
{
    return point_if_it_waits<"__fgets_chk", decltype(::__fgets_chk)>(data, room, size, file);
}

COIR_INTERPOSE int fgetc(FILE* file)
{
    return point_if_it_waits<"fgetc", decltype(::fgetc)>(file);
}

COIR_INTERPOSE int getc(FILE* file)
{
    return point_if_it_waits<"getc", decltype(::getc)>(file);
}

COIR_INTERPOSE int getchar()
{
    return point_if_it_waits<"getchar", decltype(::getchar)>();
}

COIR_INTERPOSE ssize_t getline(char** line, size_t* size, FILE* file)
{
    return point_if_it_waits<"getline", decltype(::getline)>(line, size, file);
}

COIR_INTERPOSE ssize_t getdelim(char** line, size_t* size, int end, FILE* file)
{
    return point_if_it_waits<"getdelim", decltype(::getdelim)>(line, size, end, file);
}

COIR_INTERPOSE size_t fwrite(const void* data, size_t size, size_t count, FILE* file)
{
    return point_if_it_waits<"fwrite", decltype(::fwrite)>(data, size, count, file);
}

COIR_INTERPOSE int fputs(const char* text, FILE* file)
{
    return point_if_it_waits<"fputs", decltype(::fputs)>(text, file);
}

COIR_INTERPOSE int fflush(FILE* file)
{
    return point_if_it_waits<"fflush", decltype(::fflush)>(file);
}

// ---- with arguments that may not be there
// ----------------------------------------------------------------------------

COIR_INTERPOSE int open(const char* path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const auto mode = optional_argument<mode_t>(opens_with_mode(flags), rest);
    va_end(rest);
    return point<"open", decltype(::open), a_descriptor>(path, flags, mode);
}

COIR_INTERPOSE int open64(const char* path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const auto mode = optional_argument<mode_t>(opens_with_mode(flags), rest);
    va_end(rest);
    return point<"open64", decltype(::open64), a_descriptor>(path, flags, mode);
}

COIR_INTERPOSE int openat(int directory, const char* path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const auto mode = optional_argument<mode_t>(opens_with_mode(flags), rest);
    va_end(rest);
    return point<"openat", decltype(::openat), a_descriptor>(directory, path, flags, mode);
}

COIR_INTERPOSE int openat64(int directory, const char* path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const auto mode = optional_argument<mode_t>(opens_with_mode(flags), rest);
    va_end(rest);
    return point<"openat64", decltype(::openat64), a_descriptor>(directory, path, flags, mode);
}

// Of fcntl's commands, those that wait for a lock.

COIR_INTERPOSE int fcntl(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    auto* const argument = va_arg(rest, void*);
    va_end(rest);
    return point_if_it_waits<"fcntl", decltype(::fcntl)>(fd, command, argument);
}

COIR_INTERPOSE int fcntl64(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    auto* const argument = va_arg(rest, void*);
    va_end(rest);
    return point_if_it_waits<"fcntl64", decltype(::fcntl64)>(fd, command, argument);
}

} // namespace coir
