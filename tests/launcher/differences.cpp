// SPDX-License-Identifier: BSL-1.0
// differences WHAT: where threads that are fibers differ from others, in a program that knows nothing of coir. What it
// prints under `coir run --threads=fibers` is what docs/patched-calls.md says.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

namespace {

struct body {
    std::function<void()> run;
    sem_t about_to_wait;
};

/// Runs `run` in a thread, cancels that, and tells how it ended. `then` is called when it has been cancelled.
void cancelled(const char* name, std::function<void()> run, const std::function<void()>& then)
{
    printf("%s\n", name);
    body what{.run = std::move(run), .about_to_wait = {}};
    sem_init(&what.about_to_wait, 0, 0);
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void* untyped) -> void* {
            auto& mine = *static_cast<body*>(untyped);
            sem_post(&mine.about_to_wait);
            mine.run();
            return nullptr;
        },
        &what);
    while (sem_wait(&what.about_to_wait) != 0) {}
    usleep(3000);
    pthread_cancel(thread);
    then();
    void* result = nullptr;
    pthread_join(thread, &result);
    printf("  %s\n", result == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
}

/// Until it has been cancelled, which then is for the next point to see.
void become_due(const std::atomic<bool>& sent)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
    while (!sent)
        usleep(1000);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
}

void cancellation()
{
    struct message {
        long kind = 1;
        char text = 'x';
    } static sent;
    static const int queue = msgget(IPC_PRIVATE, 0600);
    const auto receive = [] {
        message got;
        printf("  received %zd\n", msgrcv(queue, &got, 1, 0, 0));
        pthread_testcancel();
    };
    cancelled("in msgrcv", receive, [] {
        usleep(3000);
        msgsnd(queue, &sent, 1, 0);
    });
    static std::atomic<bool> due;
    const auto now_due = [] { due = true; };
    due = false;
    cancelled(
        "before msgrcv",
        [&] {
            become_due(due);
            receive();
        },
        now_due);
    msgctl(queue, IPC_RMID, nullptr);

    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    cancelled(
        "at any time, in what is no point",
        [] {
            pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
            pthread_mutex_lock(&mutex);
            puts("  has the mutex");
            pthread_mutex_unlock(&mutex);
            usleep(1000);
        },
        [] {
            usleep(3000);
            pthread_mutex_unlock(&mutex);
        });

    static FILE* const lines = fopen("/proc/self/status", "r");
    static char text[256];
    static_cast<void>(!fgets(text, sizeof text, lines)); // the next ones are in the buffer
    due = false;
    cancelled(
        "what is no point, or need not wait",
        [] {
            become_due(due);
            char byte;
            const int file = fileno(lines);
            const bool read = pread(file, &byte, 1, 0) == 1;
            const bool drained = tcdrain(file) == 0;
            const bool line = fgets(text, sizeof text, lines) != nullptr;
            printf("  pread %d, tcdrain %d, fgets %d\n", read, drained, line);
            close(-1);
        },
        now_due);
}

/// Of main, and of a thread that waits for a condition, where threads are threads.
void cancelled_under_coir()
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    static bool woken = false;
    cancelled(
        "a condition",
        [] {
            pthread_mutex_lock(&mutex);
            while (!woken)
                pthread_cond_wait(&condition, &mutex);
            pthread_mutex_unlock(&mutex);
            puts("  woken");
            pthread_testcancel();
        },
        [] {
            usleep(3000);
            pthread_mutex_lock(&mutex);
            woken = true;
            pthread_cond_signal(&condition);
            pthread_mutex_unlock(&mutex);
        });
}

/// Where main is a fiber, and cancelled by a thread that is a thread.
void main_cancelled_under_coir()
{
    static const pthread_t first = pthread_self();
    static sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    pthread_t other;
    pthread_create(
        &other, nullptr,
        [](void*) -> void* {
            usleep(3000);
            pthread_cancel(first);
            usleep(3000);
            sem_post(&semaphore);
            return nullptr;
        },
        nullptr);
    while (sem_wait(&semaphore) != 0) {}
    puts("not reached");
}

bool has_name_outside(const std::string& wanted)
{
    DIR* directory = opendir("/proc/self/task");
    bool found = false;
    while (const dirent* entry = readdir(directory)) {
        std::string name;
        std::getline(std::ifstream{"/proc/self/task/" + std::string{entry->d_name} + "/comm"}, name);
        found |= name == wanted;
    }
    closedir(directory);
    return found;
}

void kernels_view()
{
    const pid_t ours = gettid();
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    std::thread{[&] {
        const auto self = pthread_self();
        char name[16];
        pthread_setname_np(self, "a worker");
        pthread_getname_np(self, name, sizeof name);
        printf("name: %s, outside %d\n", name, has_name_outside("a worker"));
        printf("same kernel thread: %d\n", gettid() == ours);
        cpu_set_t none;
        CPU_ZERO(&none);
        CPU_SET(CPU_SETSIZE - 1, &none);
        const int set = pthread_setaffinity_np(self, sizeof none, &none);
        cpu_set_t now;
        pthread_getaffinity_np(self, sizeof now, &now);
        printf("affinity: %d, as before %d\n", set, CPU_EQUAL(&before, &now) != 0);
        sched_param parameters{};
        printf("SCHED_OTHER: %d\n", pthread_setschedparam(self, SCHED_OTHER, &parameters));
        parameters.sched_priority = 1;
        printf("SCHED_FIFO: %s\n", strerrorname_np(pthread_setschedparam(self, SCHED_FIFO, &parameters)));
    }}.join();
}

std::atomic<int> handled{0};

void signals()
{
    struct sigaction action = {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* info, void*) { handled = info->si_code == SI_QUEUE ? info->si_int : 1; };
    sigaction(SIGUSR1, &action, nullptr);
    sigset_t all;
    sigset_t one;
    sigfillset(&all);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    std::thread{[&] {
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        kill(getpid(), SIGUSR1);
        while (handled == 0)
            usleep(1000);
        puts("handled, while a thread blocks all");
    }}.join();
    handled = 0;
    std::thread waiting{[] {
        while (handled == 0)
            usleep(1000);
    }};
    pthread_sigqueue(waiting.native_handle(), SIGUSR1, {.sival_int = 5});
    waiting.join();
    printf("pthread_sigqueue: %d\n", handled.load());
    handled = 0;
    pthread_sigmask(SIG_BLOCK, &one, nullptr);
    std::thread{[&] {
        pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
        kill(getpid(), SIGUSR1);
        usleep(2000);
        printf("what main blocks: handled %d\n", handled.load());
        int which = 0;
        if (handled == 0 && sigwait(&one, &which) == 0)
            printf("sigwait: %d\n", which == SIGUSR1);
    }}.join();
    static char room[64 * 1024];
    std::thread{[] {
        const stack_t stack{.ss_sp = room, .ss_flags = 0, .ss_size = sizeof room};
        sigaltstack(&stack, nullptr);
        usleep(1000);
    }}.join();
    stack_t mine;
    sigaltstack(nullptr, &mine);
    printf("main has the signal stack of a thread: %d\n", mine.ss_sp == room);
}

/// Two that join each other, main one of them: who comes second is told. glibc does not always see it.
void joins()
{
    static pthread_t first = pthread_self();
    std::thread{[] { printf("main: %s\n", strerrorname_np(pthread_join(first, nullptr))); }}.join();
    static pthread_t threads[2];
    pthread_create(
        &threads[0], nullptr,
        [](void*) -> void* {
            printf("one: %d\n", pthread_join(threads[1], nullptr));
            return nullptr;
        },
        nullptr);
    pthread_create(
        &threads[1], nullptr,
        [](void*) -> void* {
            usleep(1000);
            printf("other: %s\n", strerrorname_np(pthread_join(threads[0], nullptr)));
            return nullptr;
        },
        nullptr);
    pthread_join(threads[0], nullptr);
}

/// A thread ends with a robust mutex, of which others, here and in another process, are to be told.
void robust_mutex()
{
    void* const memory =
        mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static auto* const mutex = static_cast<pthread_mutex_t*>(memory);
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &kind);
    std::thread{[] { pthread_mutex_lock(mutex); }}.join();
    const pid_t child = fork();
    if (child == 0)
        _exit(pthread_mutex_trylock(mutex));
    int status = 0;
    waitpid(child, &status, 0);
    printf("another process: %s\n", strerrorname_np(WEXITSTATUS(status)));
    std::thread{[] { printf("another thread: %s\n", strerrorname_np(pthread_mutex_trylock(mutex))); }}.join();
}

/// Blocks all of them for good.
void locked_file()
{
    FILE* const file = tmpfile();
    std::thread{[file] {
        flockfile(file);
        std::this_thread::sleep_for(std::chrono::hours{1});
    }}.detach();
    usleep(3000);
    puts("uses it");
    fputc('x', file);
    puts("not reached");
}

/// The same.
void slow_library(const char* path)
{
    std::thread{dlopen, path, RTLD_NOW}.detach();
    usleep(3000);
    puts("uses it");
    dlopen("libm.so.6", RTLD_NOW);
    puts("not reached");
}

} // namespace

int main(int count, char** arguments)
{
    const std::string what = count > 1 ? arguments[1] : "";
    setvbuf(stdout, nullptr, _IOLBF, 0);
    if (what == "cancellation")
        cancellation();
    if (what == "threads")
        cancelled_under_coir();
    if (what == "main")
        main_cancelled_under_coir();
    if (what == "kernel")
        kernels_view();
    if (what == "signals")
        signals();
    if (what == "joins")
        joins();
    if (what == "robust")
        robust_mutex();
    if (what == "file")
        locked_file();
    if (what == "dlopen")
        slow_library(arguments[2]);
}
