// SPDX-License-Identifier: BSL-1.0
// cancels: pthread_cancel, pthread_exit and pthread_kill, in a program that knows nothing of coir. What it prints must
// not depend on how it is run. A thread says that it is about to wait and is then cancelled: whether that comes before
// or during the wait makes no difference.
#include <cxxabi.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

namespace {

void fail(const char* what)
{
    perror(what);
    exit(99);
}

int must(int result)
{
    if (result == -1)
        fail("preparing");
    return result;
}

/// Prints that it is destroyed.
struct told {
    const char* name;
    ~told() { printf("  %s is destroyed\n", name); }
};

thread_local int storage = 0;

struct body {
    std::function<void()> run;
    sem_t about_to_wait;
};

void* begin(void* argument)
{
    auto& what = *static_cast<body*>(argument);
    storage = 17;
    pthread_cleanup_push([](void*) { printf("  cleaned up, %d\n", storage); }, nullptr);
    const told one{"the thread's"};
    try {
        what.run();
    } catch (abi::__forced_unwind&) {
        puts("  unwound");
        throw;
    }
    pthread_cleanup_pop(0);
    return argument;
}

const char* name_of(void* result, const body& what)
{
    return result == PTHREAD_CANCELED ? "cancelled" : result == &what ? "returned" : "something else";
}

/// Runs `run` in a thread, cancels that when it is about to wait, and tells how it ended.
void cancelled(const char* name, std::function<void(body&)> run, const std::function<void()>& then = {})
{
    body what;
    sem_init(&what.about_to_wait, 0, 0);
    what.run = [&] {
        sem_post(&what.about_to_wait);
        run(what);
    };
    printf("%s\n", name);
    fflush(stdout);
    pthread_t thread;
    pthread_create(&thread, nullptr, begin, &what);
    sem_wait(&what.about_to_wait);
    usleep(3000);
    const int sent = pthread_cancel(thread);
    if (then)
        then();
    void* result = nullptr;
    const int joined = pthread_join(thread, &result);
    printf("  cancel %d, join %d: %s\n", sent, joined, name_of(result, what));
    sem_destroy(&what.about_to_wait);
}

// ---- where a thread waits -------------------------------------------------------------------------------------------

struct waits_at {
    waits_at()
    {
        must(pipe(empty));
        must(pipe(full));
        fcntl(full[1], F_SETFL, O_NONBLOCK);
        char block[4096]{};
        while (write(full[1], block, sizeof block) > 0) {}
        fcntl(full[1], F_SETFL, 0);
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
        const sa_family_t any = AF_UNIX;
        must(bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof any));
        must(listen(listener, 0));
        size = sizeof name;
        must(getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size));
        idle = must(socket(AF_UNIX, SOCK_STREAM, 0));
        must(bind(idle, reinterpret_cast<const sockaddr*>(&any), sizeof any));
        must(listen(idle, 0));
        queued = must(socket(AF_UNIX, SOCK_STREAM, 0));
        must(connect(queued, reinterpret_cast<sockaddr*>(&name), size));
        must(instance = epoll_create1(0));
        snprintf(fifo, sizeof fifo, "/tmp/coir-cancels-%d", getpid());
        must(mkfifo(fifo, 0600));
        child = must(fork());
        if (child == 0) {
            pause();
            _exit(0);
        }
        file = fdopen(dup(empty[0]), "r");
    }
    ~waits_at()
    {
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        unlink(fifo);
    }

    int empty[2];
    int full[2];
    int pair[2];
    int listener;
    int idle;
    int queued;
    sockaddr_un name{};
    socklen_t size;
    int instance;
    char fifo[64];
    pid_t child;
    FILE* file;
};

void waits()
{
    static waits_at at;
    static char byte[64];
    static pollfd item{.fd = at.empty[0], .events = POLLIN, .revents = 0};
    const timespec long_time{.tv_sec = 1000, .tv_nsec = 0};
    cancelled("read", [](body&) { printf("%zd\n", read(at.empty[0], byte, 1)); });
    cancelled("write", [](body&) { printf("%zd\n", write(at.full[1], byte, 1)); });
    cancelled("recv", [](body&) { printf("%zd\n", recv(at.pair[0], byte, 1, 0)); });
    cancelled("recvmsg", [](body&) {
        iovec part{byte, 1};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        printf("%zd\n", recvmsg(at.pair[0], &message, 0));
    });
    cancelled("accept", [](body&) { printf("%d\n", accept(at.idle, nullptr, nullptr)); });
    cancelled("connect", [](body&) {
        const int one = must(socket(AF_UNIX, SOCK_STREAM, 0));
        printf("%d\n", connect(one, reinterpret_cast<sockaddr*>(&at.name), at.size));
    });
    cancelled("open", [](body&) { printf("%d\n", open(at.fifo, O_RDONLY)); });
    cancelled("poll", [](body&) { printf("%d\n", poll(&item, 1, -1)); });
    cancelled("ppoll", [&](body&) { printf("%d\n", ppoll(&item, 1, &long_time, nullptr)); });
    cancelled("select", [](body&) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(at.empty[0], &set);
        printf("%d\n", select(at.empty[0] + 1, &set, nullptr, nullptr, nullptr));
    });
    cancelled("epoll_wait", [](body&) {
        epoll_event event;
        printf("%d\n", epoll_wait(at.instance, &event, 1, -1));
    });
    cancelled("sleep", [](body&) { printf("%u\n", sleep(1000)); });
    cancelled("usleep", [](body&) { printf("%d\n", usleep(999999999)); });
    cancelled("nanosleep", [&](body&) { printf("%d\n", nanosleep(&long_time, nullptr)); });
    cancelled("clock_nanosleep",
              [&](body&) { printf("%d\n", clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, nullptr)); });
    cancelled("std::this_thread::sleep_for", [](body&) { std::this_thread::sleep_for(std::chrono::hours{1}); });
    cancelled("waitpid", [](body&) { printf("%d\n", waitpid(at.child, nullptr, 0)); });
    cancelled("waitid", [](body&) {
        siginfo_t info;
        printf("%d\n", waitid(P_PID, static_cast<id_t>(at.child), &info, WEXITED));
    });
    cancelled("sigwait", [](body&) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN);
        int which = 0;
        printf("%d\n", sigwait(&set, &which));
    });
    static sem_t nobody_posts;
    sem_init(&nobody_posts, 0, 0);
    cancelled("sem_wait", [](body&) { printf("%d\n", sem_wait(&nobody_posts)); });
    cancelled("fgets", [](body&) { printf("%d\n", fgets(byte, sizeof byte, at.file) != nullptr); });
    cancelled("system", [](body&) { printf("%d\n", system("exec sleep 1000")); });

    static pthread_mutex_t mutex;
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&mutex, &attributes);
    // Whoever is cancelled has the mutex again.
    const auto unlock = [](void*) { printf("  unlock %d\n", pthread_mutex_unlock(&mutex)); };
    cancelled("pthread_cond_wait", [&](body&) {
        pthread_mutex_lock(&mutex);
        pthread_cleanup_push(unlock, nullptr);
        for (;;)
            pthread_cond_wait(&condition, &mutex);
        pthread_cleanup_pop(0);
    });
    cancelled("pthread_cond_timedwait", [&](body&) {
        pthread_mutex_lock(&mutex);
        pthread_cleanup_push(unlock, nullptr);
        timespec time;
        clock_gettime(CLOCK_REALTIME, &time);
        time.tv_sec += 1000;
        for (;;)
            pthread_cond_timedwait(&condition, &mutex, &time);
        pthread_cleanup_pop(0);
    });
    pthread_t other;
    pthread_create(
        &other, nullptr, [](void*) -> void* { return reinterpret_cast<void*>(read(at.empty[0], byte, 1)); }, nullptr);
    cancelled("pthread_join", [&](body&) { printf("%d\n", pthread_join(other, nullptr)); });
    must(static_cast<int>(write(at.empty[1], "x", 1)));
    void* result = nullptr;
    printf("  and can be joined still: %d %d\n", pthread_join(other, &result), result == reinterpret_cast<void*>(1));
}

// ---- when -----------------------------------------------------------------------------------------------------------

void states()
{
    cancelled("a thread that does not let itself be cancelled, until it does", [](body& what) {
        int before = -1;
        printf("  %d\n", pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before));
        sem_post(&what.about_to_wait);
        while (usleep(10000) != 0) {}
        pthread_testcancel();
        puts("  goes on");
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
        printf("  %d\n", before == PTHREAD_CANCEL_DISABLE);
        pthread_testcancel();
        puts("  not reached");
    });
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    cancelled(
        "a thread that waits for a mutex",
        [](body&) {
            pthread_mutex_lock(&mutex);
            puts("  has it");
            pthread_mutex_unlock(&mutex);
            pthread_testcancel();
        },
        [] {
            usleep(2000);
            pthread_mutex_unlock(&mutex);
        });
    cancelled("a thread that ends", [](body&) {});
    cancelled("a thread that exits by itself", [](body&) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
        usleep(10000);
        pthread_cleanup_push([](void*) { printf("  and waits on its way out: %d\n", usleep(1000)); }, nullptr);
        pthread_exit(nullptr);
        pthread_cleanup_pop(0);
    });
    cancelled("a thread that waits while it is cleaned up", [](body&) {
        pthread_cleanup_push([](void*) { printf("  slept: %d\n", usleep(1000)); }, nullptr);
        sleep(1000);
        pthread_cleanup_pop(0);
    });
    cancelled("a thread that cancels itself, once", [](body&) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
        usleep(10000);
        pthread_cancel(pthread_self());
        puts("  goes on");
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
        puts("  and on");
        char byte;
        printf("  not reached: %zd\n", read(-1, &byte, 1));
    });
    cancelled("at any time", [](body&) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
        usleep(10000);
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
        puts("  goes on");
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
        puts("  not reached");
    });
    cancelled("catch all, and throw again", [](body&) {
        try {
            sleep(1000);
        } catch (...) {
            puts("  caught");
            throw;
        }
    });

    puts("before it has begun");
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
            sleep(1000);
            return nullptr;
        },
        nullptr);
    pthread_cancel(thread);
    void* result = nullptr;
    pthread_join(thread, &result);
    printf("  %d\n", result == PTHREAD_CANCELED);

    puts("std::thread");
    std::thread standard{[] {
        const told one{"std::thread's"};
        std::this_thread::sleep_for(std::chrono::hours{1});
    }};
    usleep(2000);
    pthread_cancel(standard.native_handle());
    standard.join();

    puts("many at once, some of them detached");
    static std::atomic<int> cleaned{0};
    pthread_t all[50];
    for (auto& each : all)
        pthread_create(
            &each, nullptr,
            [](void*) -> void* {
                pthread_cleanup_push([](void*) { ++cleaned; }, nullptr);
                for (;;)
                    usleep(100);
                pthread_cleanup_pop(0);
                return nullptr;
            },
            nullptr);
    usleep(5000);
    for (int i = 0; i < 50; ++i) {
        if (i % 2)
            pthread_detach(all[i]);
        pthread_cancel(all[i]);
    }
    int ended = 0;
    for (int i = 0; i < 50; i += 2) {
        pthread_join(all[i], &result);
        ended += result == PTHREAD_CANCELED;
    }
    while (cleaned < 50)
        usleep(1000);
    printf("  %d of 25, %d in all\n", ended, cleaned.load());
}

// ---- pthread_kill ---------------------------------------------------------------------------------------------------

std::atomic<int> handled{0};
sem_t nobody_posts;

/// Sends signals to a thread until it says that it has been interrupted.
void interrupted(const char* name, int (*wait)())
{
    struct shared {
        int (*wait)();
        std::atomic<bool> done{false};
        int result = 0;
        int error = 0;
    } state{.wait = wait};
    const int before = handled;
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void* argument) -> void* {
            auto& mine = *static_cast<shared*>(argument);
            errno = 0;
            mine.result = mine.wait();
            mine.error = errno;
            mine.done = true;
            return nullptr;
        },
        &state);
    while (!state.done) {
        const int error = pthread_kill(thread, SIGUSR1);
        if (error)
            printf("pthread_kill %d\n", error);
        usleep(1000);
    }
    pthread_join(thread, nullptr);
    printf("%s %d %s, handled %d\n", name, state.result, strerrorname_np(state.error), handled > before);
}

void kills()
{
    static int ends[2];
    static int pair[2];
    static char byte;
    static pollfd item;
    must(pipe(ends));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    item = {.fd = ends[0], .events = POLLIN, .revents = 0};
    sem_init(&nobody_posts, 0, 0);
    struct sigaction action {};
    action.sa_handler = [](int) { ++handled; };
    sigaction(SIGUSR1, &action, nullptr);
    // Another thread that waits for the same is not interrupted.
    pthread_t other;
    pthread_create(
        &other, nullptr,
        [](void*) -> void* {
            char ours;
            return reinterpret_cast<void*>(recv(pair[1], &ours, 1, 0));
        },
        nullptr);
    interrupted("read", [] { return static_cast<int>(read(ends[0], &byte, 1)); });
    interrupted("recv", [] { return static_cast<int>(recv(pair[1], &byte, 1, 0)); });
    interrupted("poll", [] { return poll(&item, 1, -1); });
    interrupted("sem_wait", [] { return sem_wait(&nobody_posts); });
    interrupted("usleep", [] { return usleep(999999999); });
    must(static_cast<int>(write(pair[0], "x", 1)));
    void* result = nullptr;
    pthread_join(other, &result);
    printf("the other has read %ld\n", reinterpret_cast<long>(result));
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
    interrupted("poll", [] { return poll(&item, 1, -1); });
    pthread_t restarted;
    pthread_create(
        &restarted, nullptr,
        [](void*) -> void* {
            char ours;
            return reinterpret_cast<void*>(read(ends[0], &ours, 1));
        },
        nullptr);
    for (int i = 0; i < 5; ++i) {
        pthread_kill(restarted, SIGUSR1);
        usleep(1000);
    }
    must(static_cast<int>(write(ends[1], "x", 1)));
    pthread_join(restarted, &result);
    printf("restarted, it has read %ld\n", reinterpret_cast<long>(result));
}

// ---- main -----------------------------------------------------------------------------------------------------------

void main_is_cancelled()
{
    static const pthread_t first = pthread_self();
    static const told at_exit{"what main has made"};
    static sem_t cleaned_up;
    sem_init(&cleaned_up, 0, 0);
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
            usleep(2000);
            const int sent = pthread_cancel(first);
            sem_wait(&cleaned_up);
            printf("cancel %d\n", sent);
            return nullptr; // the last thread
        },
        nullptr);
    pthread_cleanup_push(
        [](void*) {
            puts("main is cleaned up");
            sem_post(&cleaned_up);
        },
        nullptr);
    const told one{"main's"};
    sleep(1000);
    pthread_cleanup_pop(0);
}

/// Joins main, and tells what that gives; what main does meanwhile is up to it.
void* joins_main(void* untyped)
{
    const pthread_t first = *static_cast<pthread_t*>(untyped);
    void* result = nullptr;
    printf("try %s\n", strerrorname_np(pthread_tryjoin_np(first, &result)));
    timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 1000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    printf("for a while %s\n", strerrorname_np(pthread_timedjoin_np(first, &result, &soon)));
    sem_post(&nobody_posts);
    const int error = pthread_join(first, &result);
    printf("join %d: %ld\n", error, reinterpret_cast<long>(result));
    usleep(1000);
    puts("the last thread");
    return nullptr;
}

/// Main ends before its last thread, which joins it.
void main_is_joined(const std::string& how)
{
    static pthread_t first = pthread_self();
    static const told at_exit{"what main has made"};
    sem_init(&nobody_posts, 0, 0);
    pthread_t thread;

    if (how == "detached") {
        pthread_create(
            &thread, nullptr,
            [](void*) -> void* {
                printf("detach %d\n", pthread_detach(first));
                printf("join %s\n", strerrorname_np(pthread_join(first, nullptr)));
                sem_post(&nobody_posts);
                usleep(1000);
                puts("the last thread");
                return nullptr;
            },
            nullptr);
    } else {
        pthread_create(&thread, nullptr, joins_main, &first);
    }
    pthread_detach(thread);
    while (sem_wait(&nobody_posts) != 0) {}
    const told one{"main's"};
    if (how == "c11")
        thrd_exit(-7);
    if (how == "cancelled") {
        pthread_cancel(first);
        pthread_testcancel();
    }
    pthread_exit(reinterpret_cast<void*>(7));
}

} // namespace

int main(int count, char** arguments)
{
    const std::string what = count > 1 ? arguments[1] : "";
    setvbuf(stdout, nullptr, _IOLBF, 0);
    if (what == "main")
        main_is_cancelled();
    if (what == "joins")
        main_is_joined(arguments[2]);
    if (what == "waits")
        waits();
    if (what == "states")
        states();
    if (what == "kills")
        kills();
    puts("end");
    return 0;
}
