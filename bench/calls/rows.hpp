// SPDX-License-Identifier: BSL-1.0
#pragma once
// The calls that calls and calls-plain measure: each a libc call that does not have to wait.
#include "bench.hpp"

#include <fcntl.h>
#include <functional>
#include <map>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace calls {

/// Where they are.
struct functions {
    decltype(&::read) read;
    decltype(&::write) write;
    decltype(&::recv) recv;
    decltype(&::send) send;
    decltype(&::poll) poll;
    decltype(&::close) close;
    decltype(&::getppid) getppid;
    decltype(&::pthread_mutex_lock) lock;
    decltype(&::pthread_mutex_unlock) unlock;
    decltype(&::sem_wait) wait;
    decltype(&::sem_post) post;
    decltype(&::getaddrinfo) resolve;
    decltype(&::freeaddrinfo) free;
};

/// As the program is linked.
inline functions linked()
{
    return {::read,
            ::write,
            ::recv,
            ::send,
            ::poll,
            ::close,
            ::getppid,
            ::pthread_mutex_lock,
            ::pthread_mutex_unlock,
            ::sem_wait,
            ::sem_post,
            ::getaddrinfo,
            ::freeaddrinfo};
}

/// Fails loudly if the call does not do what the row says.
inline void expect(bool as_said)
{
    if (!as_said) {
        std::perror("calls: unexpected result");
        std::exit(1);
    }
}

template <class Operation> void time(bench::number count, Operation operation)
{
    constexpr bench::number to_warm_up = 1000;
    for (bench::number i = 0; i < to_warm_up; ++i)
        operation();
    bench::stopwatch watch;
    for (bench::number i = 0; i < count; ++i)
        operation();
    watch.report(count);
}

using row = std::function<void(const functions&, bench::number)>;

inline char data[64];

inline const std::map<std::string, row> rows{
    {"getppid", // not patched: the control
     [](const functions& c, bench::number count) { time(count, [&] { expect(c.getppid() > 0); }); }},
    {"write-null",
     [](const functions& c, bench::number count) {
         const int null = ::open("/dev/null", O_WRONLY);
         time(count, [&] { expect(c.write(null, data, sizeof data) == sizeof data); });
     }},
    {"pipe", // write and read
     [](const functions& c, bench::number count) {
         int ends[2];
         expect(::pipe(ends) == 0);
         time(count, [&] {
             expect(c.write(ends[1], data, sizeof data) == sizeof data);
             expect(c.read(ends[0], data, sizeof data) == sizeof data);
         });
     }},
    {"socket", // write and read
     [](const functions& c, bench::number count) {
         int ends[2];
         expect(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
         time(count, [&] {
             expect(c.write(ends[1], data, sizeof data) == sizeof data);
             expect(c.read(ends[0], data, sizeof data) == sizeof data);
         });
     }},
    {"send-recv",
     [](const functions& c, bench::number count) {
         int ends[2];
         expect(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
         time(count, [&] {
             expect(c.send(ends[1], data, sizeof data, MSG_NOSIGNAL) == sizeof data);
             expect(c.recv(ends[0], data, sizeof data, 0) == sizeof data);
         });
     }},
    {"recv-eagain", // the program made it O_NONBLOCK
     [](const functions& c, bench::number count) {
         int ends[2];
         expect(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
         time(count, [&] { expect(c.recv(ends[0], data, sizeof data, 0) == -1); });
     }},
    {"recv-dontwait",
     [](const functions& c, bench::number count) {
         int ends[2];
         expect(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
         time(count, [&] { expect(c.recv(ends[0], data, sizeof data, MSG_DONTWAIT) == -1); });
     }},
    {"poll-ready",
     [](const functions& c, bench::number count) {
         int ends[2];
         expect(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
         pollfd one{.fd = ends[0], .events = POLLOUT, .revents = 0};
         time(count, [&] { expect(c.poll(&one, 1, 1000) == 1); });
     }},
    {"dup-close",
     [](const functions& c, bench::number count) {
         const int null = ::open("/dev/null", O_WRONLY);
         time(count, [&] { expect(c.close(::dup(null)) == 0); });
     }},
    {"mutex", // lock and unlock, uncontended
     [](const functions& c, bench::number count) {
         pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
         time(count, [&] {
             c.lock(&mutex);
             c.unlock(&mutex);
         });
     }},
    {"sem", // wait and post, uncontended
     [](const functions& c, bench::number count) {
         sem_t semaphore;
         expect(::sem_init(&semaphore, 0, 1) == 0);
         time(count, [&] {
             c.wait(&semaphore);
             c.post(&semaphore);
         });
     }},
    {"resolve", // an address, which needs no look-up
     [](const functions& c, bench::number count) {
         addrinfo hints{};
         hints.ai_socktype = SOCK_STREAM;
         time(count, [&] {
             addrinfo* found = nullptr;
             expect(c.resolve("127.0.0.1", "80", &hints, &found) == 0);
             c.free(found);
         });
     }},
};

/// CALL [COUNT], the program's arguments from `first` on. Null, and a message, if there is no such call.
inline const row* row_of(int argc, char** argv, int first)
{
    const auto found = rows.find(argc > first ? argv[first] : "");
    if (found != rows.end())
        return &found->second;
    std::fputs("CALL is one of:", stderr);
    for (const auto& [name, run] : rows)
        std::fprintf(stderr, " %s", name.c_str());
    std::fputs("\n", stderr);
    return nullptr;
}

} // namespace calls
