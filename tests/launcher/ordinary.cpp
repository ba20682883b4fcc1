// SPDX-License-Identifier: BSL-1.0
// ordinary WHAT: a program that knows nothing of coir. What it prints and how it ends must not depend on how it is run.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <thread>

namespace {

struct goodbye {
    ~goodbye() { puts("static destructor"); }
} at_the_end;

int ends[2];

void fail(const char* what)
{
    perror(what);
    exit(99);
}

void sleep_ms(long ms)
{
    const timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, nullptr);
}

/// Something that waits, through another process.
void talk()
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        fail("socketpair");
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        char text[6] = {};
        if (read(pair[1], text, 5) != 5)
            _exit(1);
        sleep_ms(5);
        _exit(write(pair[1], "world", 5) == 5 && strcmp(text, "hello") == 0 ? 7 : 1);
    }
    close(pair[1]);
    sleep_ms(5);
    if (write(pair[0], "hello", 5) != 5)
        fail("write");
    pollfd item = {pair[0], POLLIN, 0};
    int ready;
    do
        ready = poll(&item, 1, 60000);
    while (ready < 0 && errno == EINTR);
    if (ready != 1)
        fail("poll");
    char text[6] = {};
    if (read(pair[0], text, 5) != 5 || read(pair[0], text + 5, 1) != 0)
        fail("read");
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        fail("waitpid");
    printf("hello %s, status %d\n", text, WEXITSTATUS(status));
    close(pair[0]);
}

void relay(int)
{
    const int before = errno;
    char byte = 'x';
    if (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
        _exit(98);
    pollfd item = {ends[0], POLLIN, 0};
    if (poll(&item, 1, 0) != 0)
        _exit(97);
    errno = before;
}

void handlers()
{
    if (pipe(ends) != 0)
        fail("pipe");
    struct sigaction action {};
    action.sa_handler = relay;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const itimerval often = {{0, 300}, {0, 300}};
    setitimer(ITIMER_REAL, &often, nullptr);
    for (int i = 0; i < 20; ++i)
        talk();
    const itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, nullptr);
    struct sigaction now {};
    sigaction(SIGSEGV, nullptr, &now);
    printf("SIGSEGV is %s\n", now.sa_handler == SIG_DFL ? "as it was" : "handled");
}

[[gnu::noinline]] int deep(int depth)
{
    volatile char room[16384];
    room[0] = static_cast<char>(depth);
    const int below = depth == 0 ? 0 : deep(depth - 1);
    asm volatile("" ::"r"(room) : "memory"); // each call has its own
    return below;
}

void stack()
{
    pthread_attr_t attributes;
    void* base;
    size_t size;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &base, &size);
    const char* here = static_cast<char*>(__builtin_frame_address(0));
    printf("on main's own stack: %d\n", here > base && here < static_cast<char*>(base) + size);
    sleep_ms(1);
    printf("seven of eight MiB: %d\n", deep(7 * 64));
}

/// What a daemon does, and goes on.
void close_all()
{
    close_range(3, ~0U, 0);
    talk();
    for (int fd = 3; fd < 1024; ++fd)
        close(fd);
    talk();
    closefrom(3);
    talk();
    printf("the next is %d\n", open("/dev/null", O_RDONLY));
}

void few_descriptors()
{
    const rlimit limit = {16, 16};
    setrlimit(RLIMIT_NOFILE, &limit);
    int count = 0;
    while (open("/dev/null", O_RDONLY) >= 0)
        ++count;
    printf("%d, then %s\n", count, strerror(errno));
    close(14);
    close(15);
    int pair[2];
    if (pipe(pair) != 0)
        fail("pipe");
    std::thread writer{[&] {
        sleep_ms(5);
        if (write(pair[1], "x", 1) != 1)
            fail("write");
    }};
    char byte;
    printf("%zd\n", read(pair[0], &byte, 1));
    writer.join();
}

void children(char* self)
{
    talk();
    const pid_t child = vfork();
    if (child == 0) {
        execl(self, self, "talk", nullptr);
        _exit(1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    printf("vfork: %d\n", status);
    FILE* pipe = popen("echo from a shell; exit 3", "r");
    char line[64];
    printf("%s", fgets(line, sizeof line, pipe));
    printf("pclose: %d\n", WEXITSTATUS(pclose(pipe)));
    printf("system: %d\n", WEXITSTATUS(system("exit 4")));
    fflush(stdout);
    // The child is a fiber, too, and forks in turn.
    const pid_t other = fork();
    if (other == 0) {
        talk();
        exit(5);
    }
    waitpid(other, &status, 0);
    printf("fork: %d\n", WEXITSTATUS(status));
    fflush(stdout);
    execl(self, self, "talk", nullptr);
    fail("execl");
}

} // namespace

int main(int count, char** arguments)
{
    const char* what = count > 1 ? arguments[1] : "";
    const auto is = [&](const char* name) { return strcmp(what, name) == 0; };
    if (is("talk"))
        talk();
    else if (is("handlers"))
        handlers();
    else if (is("stack"))
        stack();
    else if (is("close_all"))
        close_all();
    else if (is("few_descriptors"))
        few_descriptors();
    else if (is("children"))
        children(arguments[0]);
    else if (is("arguments"))
        for (int i = 0; i < count; ++i)
            printf("<%s>\n", arguments[i]);
    else if (is("environment"))
        for (char** entry = environ; *entry; ++entry)
            printf("<%s>\n", *entry);
    else if (is("exit")) {
        atexit([] { talk(); }); // which may still wait
        atexit([] { puts("atexit"); });
        exit(3);
    } else if (is("_exit"))
        _exit(4);
    else if (is("abort"))
        abort();
    else if (is("terminated")) {
        kill(getpid(), SIGTERM);
        pause();
    } else if (is("exit in handler")) {
        signal(SIGALRM, [](int) { _exit(6); });
        const itimerval soon = {{0, 0}, {0, 1000}};
        setitimer(ITIMER_REAL, &soon, nullptr);
        sleep_ms(60000);
    } else if (is("exit in thread")) {
        std::thread{[] { exit(8); }}.join();
    } else if (is("pthread_exit")) {
        std::thread{[] {
            sleep_ms(5);
            puts("the thread is the last");
        }}.detach();
        pthread_exit(nullptr);
    } else if (is("overflow"))
        printf("%d\n", deep(1 << 30));
    return is("return") ? 9 : 0;
}
