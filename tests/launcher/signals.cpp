// SPDX-License-Identifier: BSL-1.0
// signals: what handlers do to calls that wait, in a program that knows nothing of coir. What it prints must not depend
// on how it is run.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

namespace {

volatile sig_atomic_t handled = 0;
int ends[2];     // of a pipe; nothing is ever in it, unless the handler writes
int listener;    // where nobody connects
int pair[2];     // a socket with nothing to read
int timed;       // the same, with a time-out
int instance;    // an epoll instance, for the pipe
sem_t semaphore; // that nobody posts
pid_t child;     // that does not end
const char* locked;

void fail(const char* what)
{
    perror(what);
    exit(99);
}

void count(int)
{
    handled = handled + 1;
}

void (*after)() = nullptr; // the handler's, from the third time on

/// The third time, it ends what is restarted.
void count_and_end(int)
{
    handled = handled + 1;
    if (handled >= 3 && after)
        after();
}

void install(int flags, void (*function)(int) = count_and_end)
{
    struct sigaction action {};
    action.sa_handler = function;
    action.sa_flags = flags;
    sigaction(SIGALRM, &action, nullptr);
}

/// Calls it while SIGALRM comes every few milliseconds.
void interrupted(const char* name, long (*call)())
{
    handled = 0;
    const itimerval often = {{0, 3000}, {0, 3000}};
    setitimer(ITIMER_REAL, &often, nullptr);
    errno = 0;
    const long result = call();
    const int error = errno;
    const itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, nullptr);
    printf("  %s %ld %s\n", name, result, result < 0 ? strerror(error) : "");
}

struct call {
    const char* name;
    long (*make)();
    void (*end)();
};

void write_byte()
{
    if (write(ends[1], "x", 1) != 1)
        abort();
}

void write_socket()
{
    if (write(pair[1], "x", 1) != 1)
        abort();
}

const call restartable[] = {
    {"read",
     [] {
         char byte;
         return long{read(ends[0], &byte, 1)};
     },
     write_byte},
    {"recv",
     [] {
         char byte;
         return long{recv(pair[0], &byte, 1, 0)};
     },
     write_socket},
    {"recvmsg",
     [] {
         char byte;
         iovec part = {&byte, 1};
         msghdr message{};
         message.msg_iov = &part;
         message.msg_iovlen = 1;
         return long{recvmsg(pair[0], &message, 0)};
     },
     write_socket},
    {"sem_wait", [] { return long{sem_wait(&semaphore)}; }, [] { sem_post(&semaphore); }},
    {"waitpid", [] { return waitpid(child, nullptr, 0) == child ? 0L : -1L; }, [] { kill(child, SIGKILL); }},
};

const call never_restarted[] = {
    {"poll",
     [] {
         pollfd item = {ends[0], POLLIN, 0};
         return long{poll(&item, 1, 60000)};
     },
     nullptr},
    {"poll for nothing", [] { return long{poll(nullptr, 0, 60000)}; }, nullptr},
    {"ppoll",
     [] {
         pollfd item = {ends[0], POLLIN, 0};
         return long{ppoll(&item, 1, nullptr, nullptr)};
     },
     nullptr},
    {"select",
     [] {
         fd_set set;
         FD_ZERO(&set);
         FD_SET(ends[0], &set);
         return long{select(ends[0] + 1, &set, nullptr, nullptr, nullptr)};
     },
     nullptr},
    {"epoll_wait",
     [] {
         epoll_event event;
         return long{epoll_wait(instance, &event, 1, -1)};
     },
     nullptr},
    {"nanosleep",
     [] {
         const timespec hour = {3600, 0};
         return long{nanosleep(&hour, nullptr)};
     },
     nullptr},
    {"nanosleep, what is left",
     [] {
         const timespec hour = {3600, 0};
         timespec left{};
         return nanosleep(&hour, &left) == -1 && left.tv_sec == 3599 ? 1L : 0L;
     },
     nullptr},
    {"clock_nanosleep",
     [] {
         const timespec hour = {3600, 0};
         return clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, nullptr) == EINTR ? 1L : 0L;
     },
     nullptr},
    {"usleep", [] { return long{usleep(3600000000U)}; }, nullptr},
    {"sleep", [] { return sleep(3600) > 3590 ? 1L : 0L; }, nullptr},
    {"thrd_sleep",
     [] {
         const timespec hour = {3600, 0};
         return long{thrd_sleep(&hour, nullptr)};
     },
     nullptr},
    {"pause", [] { return long{pause()}; }, nullptr},
    {"sigwaitinfo",
     [] {
         sigset_t set;
         sigemptyset(&set);
         sigaddset(&set, SIGUSR2);
         return long{sigwaitinfo(&set, nullptr)};
     },
     nullptr},
    {"recv with a time-out",
     [] {
         char byte;
         return long{recv(timed, &byte, 1, 0)};
     },
     nullptr},
};

void start_child()
{
    fflush(stdout);
    child = fork();
    if (child == 0) {
        for (;;)
            pause();
    }
}

void each()
{
    install(0);
    puts("without SA_RESTART");
    start_child();
    for (const auto& [name, make, end] : restartable)
        interrupted(name, make);
    interrupted("accept", [] { return long{accept(listener, nullptr, nullptr)}; });
    interrupted("flock", [] {
        const int other = open(locked, O_RDONLY);
        const long result = flock(other, LOCK_EX);
        const int error = errno;
        close(other);
        errno = error;
        return result;
    });
    for (const auto& [name, make, end] : never_restarted)
        interrupted(name, make);
    puts("with it");
    install(SA_RESTART);
    for (const auto& [name, make, end] : restartable) {
        after = end;
        interrupted(name, make);
        after = nullptr;
        if (make == restartable[0].make || end == write_socket) { // what more than one wrote
            char bytes[64];
            while (recv(pair[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {}
            pollfd item = {ends[0], POLLIN, 0};
            while (poll(&item, 1, 0) == 1 && read(ends[0], bytes, sizeof bytes) > 0) {}
        }
        while (sem_trywait(&semaphore) == 0) {}
    }
    for (const auto& [name, make, end] : never_restarted)
        interrupted(name, make);
    puts("by signal() and siginterrupt()");
    signal(SIGALRM, count);
    interrupted("poll", never_restarted[0].make);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" // and used
    siginterrupt(SIGALRM, 1);
#pragma GCC diagnostic pop
    interrupted("read", restartable[0].make);
}

sigjmp_buf back;

void jump(int)
{
    siglongjmp(back, 1);
}

/// While it computes, not while it waits: from then on it waits as before.
void jumps()
{
    install(0, jump);
    for (volatile int i = 0; i < 3;) {
        if (sigsetjmp(back, 1) == 0) {
            const itimerval soon = {{0, 0}, {0, 2000}};
            setitimer(ITIMER_REAL, &soon, nullptr);
            for (;;) {}
        }
        i = i + 1;
    }
    install(0);
    interrupted("after jumps, poll", never_restarted[0].make);
}

/// A handler that waits, in every way.
void handler_waits(int)
{
    const int before = errno;
    char byte = 'h';
    const timespec time = {0, 1000000};
    nanosleep(&time, nullptr);
    pollfd item = {ends[0], POLLIN, 0};
    if (poll(&item, 1, 1) != 0)
        _exit(97);
    // From another process, which answers after a while.
    if (write(pair[0], &byte, 1) != 1 || read(pair[0], &byte, 1) != 1 || byte != 'i')
        _exit(96);
    handled = handled + 1;
    errno = before;
}

void waiting_handlers()
{
    fflush(stdout);
    const pid_t answers = fork();
    if (answers == 0) {
        close(pair[0]);
        char byte;
        while (read(pair[1], &byte, 1) == 1) {
            usleep(1000);
            ++byte;
            if (write(pair[1], &byte, 1) != 1)
                break;
        }
        _exit(0);
    }
    install(SA_RESTART, handler_waits);
    handled = 0;
    const itimerval often = {{0, 10000}, {0, 10000}};
    setitimer(ITIMER_REAL, &often, nullptr);
    while (handled < 10) {
        pollfd item = {ends[0], POLLIN, 0};
        poll(&item, 1, 20);
        usleep(100);
    }
    const itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, nullptr);
    puts("handlers waited");
    shutdown(pair[0], SHUT_RDWR);
    waitpid(answers, nullptr, 0);
}

void installed()
{
    struct sigaction now;
    struct sigaction action {};
    action.sa_sigaction = [](int number, siginfo_t* info, void* context) {
        handled = info && context && info->si_signo == number && info->si_code == SI_USER ? 100 : 1;
    };
    constexpr int flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND);
    action.sa_flags = flags;
    sigaction(SIGUSR1, &action, &now);
    printf("before: %d\n", now.sa_handler == SIG_DFL);
    sigaction(SIGUSR1, nullptr, &now);
    printf("as installed: %d, flags %d\n", now.sa_sigaction == action.sa_sigaction,
           (now.sa_flags & (flags | SA_RESTART)) == flags);
    kill(getpid(), SIGUSR1);
    printf("told: %d\n", static_cast<int>(handled));
    sigaction(SIGUSR1, nullptr, &now);
    printf("reset: %d\n", now.sa_handler == SIG_DFL);
    printf("signal: %d\n", signal(SIGUSR1, count) == SIG_DFL);
    printf("signal: %d\n", signal(SIGUSR1, SIG_IGN) == count);
    sigaction(SIGUSR1, nullptr, &now);
    printf("ignored: %d\n", now.sa_handler == SIG_IGN);
    printf("no such: %d %d\n", sigaction(1000, &action, nullptr), sigaction(SIGKILL, &action, nullptr));
}

} // namespace

int main(int, char** arguments)
{
    locked = arguments[0];
    const timeval minute = {60, 0};
    if (pipe(ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || sem_init(&semaphore, 0, 0) != 0)
        fail("pipe");
    timed = pair[0];
    int other[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, other) != 0 ||
        setsockopt(other[0], SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof minute) != 0)
        fail("socketpair");
    timed = other[0];
    listener = socket(AF_INET, SOCK_STREAM, 0);
    instance = epoll_create1(0);
    epoll_event event{};
    event.events = EPOLLIN;
    const int held = open(locked, O_RDONLY);
    if (listen(listener, 5) != 0 || epoll_ctl(instance, EPOLL_CTL_ADD, ends[0], &event) != 0 ||
        flock(held, LOCK_EX) != 0)
        fail("listen");
    installed();
    each();
    jumps();
    waiting_handlers();
    return 0;
}
