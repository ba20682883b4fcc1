// SPDX-License-Identifier: BSL-1.0
// calls libc|outside|inside CALL [COUNT]
//
// What a libc call costs that does not have to wait: libc's own function, the patch's outside of a fiber, and the
// patch's inside of one. All three are called through a pointer, in the same program, in which there has been a
// runtime: libc itself does more in a program that is not single-threaded.
#include "bench.hpp"

#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <dlfcn.h>
#include <fcntl.h>
#include <functional>
#include <map>
#include <poll.h>
#include <pthread.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace {

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
};

functions patched()
{
    return {::read, ::write, ::recv, ::send, ::poll, ::close, ::getppid, ::pthread_mutex_lock, ::pthread_mutex_unlock};
}

template <class Function> void find(void* library, const char* name, Function& function)
{
    function = reinterpret_cast<Function>(::dlsym(library, name));
    if (!function)
        std::abort();
}

functions genuine()
{
    void* const libc = ::dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    functions found{};
    find(libc, "read", found.read);
    find(libc, "write", found.write);
    find(libc, "recv", found.recv);
    find(libc, "send", found.send);
    find(libc, "poll", found.poll);
    find(libc, "close", found.close);
    find(libc, "getppid", found.getppid);
    find(libc, "pthread_mutex_lock", found.lock);
    find(libc, "pthread_mutex_unlock", found.unlock);
    return found;
}

/// Fails loudly if the call does not do what the row says.
void expect(bool as_said)
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

char data[64];

const std::map<std::string, row> rows{
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
};

} // namespace

int main(int argc, char** argv)
{
    const std::string where = argc > 1 ? argv[1] : "";
    const auto found = rows.find(argc > 2 ? argv[2] : "");
    const auto count = bench::argument(argc, argv, 3, 1'000'000);
    if (found == rows.end() || (where != "libc" && where != "outside" && where != "inside")) {
        std::fputs("usage: calls libc|outside|inside CALL [COUNT]; CALL is one of:", stderr);
        for (const auto& [name, run] : rows)
            std::fprintf(stderr, " %s", name.c_str());
        std::fputs("\n", stderr);
        return 2;
    }
    coir::run([] {});
    if (where == "inside")
        coir::run([&] { found->second(patched(), count); });
    else
        found->second(where == "libc" ? genuine() : patched(), count);
}
