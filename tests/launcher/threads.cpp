// SPDX-License-Identifier: BSL-1.0
// threads WHAT: a program that uses threads and knows nothing of coir. What it prints must not depend on what they are.
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <resolv.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <set>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

std::mutex checks;
int failures = 0;

void check(bool right, const char* what)
{
    const std::lock_guard held{checks};
    if (right)
        return;
    ++failures;
    printf("wrong: %s\n", what);
}
#define CHECK(condition) check((condition), #condition)

void in_threads(int count, const std::function<void(int)>& work)
{
    std::vector<std::thread> all;
    for (int i = 0; i < count; ++i)
        all.emplace_back(work, i);
    for (auto& each : all)
        each.join();
}

int kernel_threads()
{
    DIR* directory = opendir("/proc/self/task");
    int count = 0;
    while (const auto* entry = readdir(directory))
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

// ---- the standard library -------------------------------------------------------------------------------------------

std::atomic<int> made{0};
std::atomic<int> destroyed{0};

struct counted {
    counted() { ++made; }
    ~counted()
    {
        std::this_thread::sleep_for(1ms); // a destructor may wait
        ++destroyed;
        value = -1;
    }
    int value = 0;
};

thread_local counted own;
thread_local int plain = 7;

void thread_locals()
{
    in_threads(20, [](int i) {
        own.value = i;
        plain += i;
        errno = i;
        std::this_thread::sleep_for(2ms);
        CHECK(own.value == i && plain == 7 + i && errno == i);
    });
    CHECK(made == 20 && destroyed == 20);
}

int thrown(int i)
{
    try {
        throw std::runtime_error{std::to_string(i)};
    } catch (const std::exception& outer) {
        std::this_thread::sleep_for(1ms);
        try {
            if (i % 2)
                throw i;
            throw;
        } catch (int inner) {
            std::this_thread::sleep_for(1ms);
            return inner + atoi(outer.what());
        } catch (const std::exception& again) {
            std::this_thread::yield();
            return 2 * atoi(again.what());
        }
    }
}

struct waits_while_unwinding {
    ~waits_while_unwinding()
    {
        std::this_thread::sleep_for(1ms);
        CHECK(std::uncaught_exceptions() == 1);
    }
};

void exceptions()
{
    in_threads(20, [](int i) {
        CHECK(thrown(i) == 2 * i);
        CHECK(std::uncaught_exceptions() == 0);
        try {
            const waits_while_unwinding waits;
            throw i;
        } catch (int caught) {
            CHECK(caught == i);
        }
    });
}

void locks()
{
    std::mutex plain_lock;
    std::recursive_mutex recursive;
    std::timed_mutex timed;
    std::shared_mutex shared;
    std::shared_timed_mutex shared_timed;
    long sum = 0;
    int depth = 0;
    in_threads(10, [&](int) {
        for (int i = 0; i < 100; ++i) {
            const std::lock_guard held{plain_lock};
            const long before = sum;
            if (i % 10 == 0)
                std::this_thread::yield();
            sum = before + 1;
        }
        const std::lock_guard outer{recursive};
        const std::lock_guard inner{recursive};
        ++depth;
        std::this_thread::sleep_for(1ms);
        CHECK(depth == 1);
        --depth;
    });
    CHECK(sum == 1000);
    {
        const std::lock_guard held{timed};
        in_threads(3, [&](int) { CHECK(!timed.try_lock_for(2ms)); });
        in_threads(1, [&](int) { CHECK(!timed.try_lock()); });
    }
    std::atomic<int> readers{0};
    std::barrier together{5};
    in_threads(5, [&](int) {
        const std::shared_lock held{shared};
        ++readers;
        together.arrive_and_wait();
        CHECK(readers == 5);
    });
    {
        const std::unique_lock held{shared_timed};
        in_threads(2, [&](int) { CHECK(!shared_timed.try_lock_shared_for(1ms)); });
    }
}

void conditions()
{
    std::mutex guard;
    std::condition_variable changed;
    int turn = 0;
    in_threads(8, [&](int i) {
        for (int round = 0; round < 20; ++round) {
            std::unique_lock held{guard};
            changed.wait(held, [&] { return turn % 8 == i; });
            ++turn;
            changed.notify_all();
        }
    });
    CHECK(turn == 160);
    std::unique_lock held{guard};
    CHECK(changed.wait_for(held, 2ms) == std::cv_status::timeout);
    CHECK(changed.wait_until(held, std::chrono::system_clock::now() + 2ms) == std::cv_status::timeout);

    std::condition_variable_any any;
    std::jthread waits{[&](std::stop_token stop) {
        std::unique_lock own_hold{guard};
        CHECK(!any.wait(own_hold, stop, [] { return false; }));
    }};
    held.unlock();
    std::this_thread::sleep_for(1ms);
    waits.request_stop();
}

void rendezvous()
{
    std::latch ready{10};
    std::counting_semaphore<> places{3};
    std::binary_semaphore go{0};
    std::atomic<int> inside{0};
    std::atomic<int> phase{0};
    std::barrier phases{10, [&]() noexcept { ++phase; }};
    std::thread starter{[&] {
        ready.wait();
        go.release();
    }};
    in_threads(10, [&](int) {
        ready.count_down();
        places.acquire();
        CHECK(++inside <= 3);
        std::this_thread::sleep_for(1ms);
        --inside;
        places.release();
        for (int i = 0; i < 5; ++i) {
            phases.arrive_and_wait();
            CHECK(phase > i);
        }
    });
    go.acquire();
    starter.join();
    CHECK(phase == 5);
    CHECK(!go.try_acquire_for(1ms));
}

void futures()
{
    std::vector<std::future<int>> results;
    for (int i = 0; i < 20; ++i)
        results.push_back(std::async(std::launch::async, [i] {
            std::this_thread::sleep_for(1ms);
            if (i == 13)
                throw std::domain_error{"thirteen"};
            return i;
        }));
    int sum = 0;
    for (auto& each : results)
        try {
            sum += each.get();
        } catch (const std::domain_error&) {
            sum += 1000;
        }
    CHECK(sum == 190 - 13 + 1000);
    std::promise<std::string> promise;
    auto shared = promise.get_future().share();
    CHECK(shared.wait_for(1ms) == std::future_status::timeout);
    std::thread sets{[&] { promise.set_value_at_thread_exit("at exit"); }};
    in_threads(3, [&](int) { CHECK(shared.get() == "at exit"); });
    sets.join();
    std::packaged_task<int(int)> task{[](int x) { return 2 * x; }};
    auto doubled = task.get_future();
    std::jthread{std::move(task), 21}.join();
    CHECK(doubled.get() == 42);
}

void atomics_and_once()
{
    std::atomic<int> word{0};
    std::once_flag flag;
    int initialised = 0;
    std::thread notifies{[&] {
        std::this_thread::sleep_for(2ms);
        word = 1;
        word.notify_all();
    }};
    in_threads(10, [&](int) {
        word.wait(0);
        std::call_once(flag, [&] {
            std::this_thread::sleep_for(1ms);
            ++initialised;
        });
        static const int slow = [] {
            std::this_thread::sleep_for(1ms);
            return 5;
        }();
        CHECK(initialised == 1 && slow == 5);
    });
    notifies.join();
}

void stopping()
{
    std::atomic<int> rounds{0};
    std::atomic<bool> called{false};
    std::jthread works{[&](std::stop_token stop) {
        const std::stop_callback callback{stop, [&] { called = true; }};
        while (!stop.stop_requested()) {
            ++rounds;
            std::this_thread::sleep_for(1ms);
        }
    }};
    while (rounds < 3)
        std::this_thread::sleep_for(1ms);
    CHECK(works.request_stop());
    works.join();
    CHECK(called);
    CHECK(std::this_thread::get_id() != std::thread::id{});
    std::set<std::thread::id> ids;
    std::mutex guard;
    std::latch all{5};
    in_threads(5, [&](int) {
        {
            const std::lock_guard held{guard};
            ids.insert(std::this_thread::get_id());
        }
        all.arrive_and_wait();
    });
    CHECK(ids.size() == 5);
}

// ---- pthread --------------------------------------------------------------------------------------------------------

pthread_key_t key;
std::atomic<int> keys_destroyed{0};
std::atomic<int> cleaned{0};

void* ends_by_pthread_exit(void*)
{
    pthread_cleanup_push([](void*) { ++cleaned; }, nullptr);
    const counted destructed; // unwound as well
    pthread_setspecific(key, &key);
    pthread_exit(&cleaned);
    pthread_cleanup_pop(0);
    return nullptr;
}

timespec in(long milliseconds, clockid_t which = CLOCK_REALTIME)
{
    timespec now;
    clock_gettime(which, &now);
    now.tv_nsec += milliseconds * 1000000;
    now.tv_sec += now.tv_nsec / 1000000000;
    now.tv_nsec %= 1000000000;
    return now;
}

void pthreads()
{
    pthread_key_create(&key, [](void* value) {
        // The first time, it leaves a value behind for the next round.
        if (++keys_destroyed % 2)
            pthread_setspecific(key, value);
    });
    made = destroyed = 0;
    pthread_t thread;
    pthread_create(&thread, nullptr, ends_by_pthread_exit, nullptr);
    void* result = nullptr;
    CHECK(pthread_join(thread, &result) == 0 && result == &cleaned);
    CHECK(cleaned == 1 && keys_destroyed == 2 && made == 1 && destroyed == 1);

    sem_t may_end;
    sem_init(&may_end, 0, 0);
    const auto waits = [](void* semaphore) {
        while (sem_wait(static_cast<sem_t*>(semaphore)) != 0) {}
        return semaphore;
    };
    pthread_create(&thread, nullptr, waits, &may_end);
    CHECK(pthread_tryjoin_np(thread, &result) == EBUSY);
    auto time = in(2);
    CHECK(pthread_timedjoin_np(thread, &result, &time) == ETIMEDOUT);
    time = in(2, CLOCK_MONOTONIC);
    CHECK(pthread_clockjoin_np(thread, &result, CLOCK_MONOTONIC, &time) == ETIMEDOUT);
    time.tv_nsec = -1;
    CHECK(pthread_kill(thread, 0) == 0);
    CHECK(pthread_setname_np(thread, "a name") == 0);
    char name[16];
    CHECK(pthread_getname_np(thread, name, sizeof name) == 0 && strcmp(name, "a name") == 0);
    CHECK(pthread_setname_np(thread, "a name that is too long") == ERANGE);
    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0 && strcmp(name, "threads") == 0);
    cpu_set_t processors;
    CHECK(pthread_getaffinity_np(thread, sizeof processors, &processors) == 0 && CPU_COUNT(&processors) > 0);
    int policy = -1;
    sched_param parameters{};
    CHECK(pthread_getschedparam(thread, &policy, &parameters) == 0 && policy == SCHED_OTHER);
    clockid_t clock;
    timespec used{};
    CHECK(pthread_getcpuclockid(thread, &clock) == 0 && clock_gettime(clock, &used) == 0);
    sem_post(&may_end);
    CHECK(pthread_join(thread, &result) == 0 && result == &may_end);

    // Stacks: where they are and how large, with a guard.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    pthread_create(
        &thread, &attributes,
        [](void*) -> void* {
            pthread_attr_t mine;
            void* base = nullptr;
            size_t size = 0;
            size_t guard = 0;
            CHECK(pthread_getattr_np(pthread_self(), &mine) == 0);
            pthread_attr_getstack(&mine, &base, &size);
            pthread_attr_getguardsize(&mine, &guard);
            pthread_attr_destroy(&mine);
            const auto* here = static_cast<char*>(__builtin_frame_address(0));
            CHECK(here > base && here < static_cast<char*>(base) + size && size == 1 << 20 && guard > 0);
            volatile char room[800 * 1024];
            room[0] = 1;
            room[sizeof room - 1] = 1;
            return nullptr;
        },
        nullptr);
    pthread_join(thread, nullptr);
    // Memory of one's own, used again at once.
    void* memory = aligned_alloc(4096, 256 * 1024);
    pthread_attr_setstack(&attributes, memory, 256 * 1024);
    for (int i = 0; i < 20; ++i) {
        pthread_create(
            &thread, &attributes, [](void* base) -> void* { return static_cast<char*>(base) + sizeof(own); }, memory);
        pthread_join(thread, &result);
        CHECK(result == static_cast<char*>(memory) + sizeof(own));
        memset(memory, 0xff, 256 * 1024);
    }
    free(memory);
    pthread_attr_destroy(&attributes);

    // Detached before, during and after.
    std::atomic<int> detached{0};
    const auto counts = [](void* counter) -> void* {
        std::this_thread::sleep_for(1ms);
        ++*static_cast<std::atomic<int>*>(counter);
        return nullptr;
    };
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 10; ++i) {
        pthread_create(&thread, &attributes, counts, &detached);
        pthread_create(&thread, nullptr, counts, &detached);
        CHECK(pthread_detach(thread) == 0);
        pthread_create(&thread, nullptr, counts, &detached);
        const int before = detached;
        while (detached < before + 3)
            std::this_thread::sleep_for(1ms);
        CHECK(pthread_detach(thread) == 0);
    }
    pthread_attr_destroy(&attributes);

    // Who joins whom.
    CHECK(pthread_join(pthread_self(), nullptr) == EDEADLK);
    static pthread_t first;
    first = pthread_self();
    in_threads(1, [](int) { CHECK(pthread_equal(first, pthread_self()) == 0); });

    // Owners are threads.
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_t checked;
    pthread_mutex_init(&checked, &kind);
    pthread_mutex_lock(&checked);
    CHECK(pthread_mutex_lock(&checked) == EDEADLK);
    in_threads(
        2, [&](int) { CHECK(pthread_mutex_unlock(&checked) == EPERM && pthread_mutex_trylock(&checked) == EBUSY); });
    CHECK(pthread_mutex_unlock(&checked) == 0);

    thrd_t c11;
    int value = 0;
    const thrd_start_t exits = [](void* by) -> int { thrd_exit(*static_cast<int*>(by) + 1); };
    CHECK(thrd_create(&c11, exits, &policy) == thrd_success);
    CHECK(thrd_join(c11, &value) == thrd_success && value == policy + 1);
    CHECK(thrd_create(
              &c11, [](void*) { return -5; }, nullptr) == thrd_success);
    CHECK(thrd_join(c11, &value) == thrd_success && value == -5);

    sigset_t set;
    sigset_t now;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    in_threads(1, [&](int) {
        CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
        CHECK(pthread_sigmask(SIG_SETMASK, nullptr, &now) == 0 && sigismember(&now, SIGUSR2) == 1);
        in_threads(1,
                   [&](int) { CHECK(sigprocmask(SIG_UNBLOCK, &set, &now) == 0 && sigismember(&now, SIGUSR2) == 1); });
    });
    CHECK(pthread_sigmask(SIG_SETMASK, nullptr, &now) == 0 && sigismember(&now, SIGUSR2) == 0);
}

// ---- what libc keeps per thread -------------------------------------------------------------------------------------

void libc_state()
{
    in_threads(6, [](int i) {
        const auto ours = newlocale(LC_ALL_MASK, "C", nullptr);
        const auto before = uselocale(i % 2 ? ours : nullptr);
        res_init();
        _res.retrans = 10 + i;
        std::this_thread::sleep_for(2ms);
        CHECK(before == LC_GLOBAL_LOCALE);
        CHECK(uselocale(nullptr) == (i % 2 ? ours : LC_GLOBAL_LOCALE));
        CHECK(_res.retrans == 10 + i);
        CHECK(isalpha('a') && !isalpha('1') && toupper('b') == 'B');
        CHECK(sched_getcpu() >= 0);
        uselocale(LC_GLOBAL_LOCALE);
        freelocale(ours);
        std::string text;
        for (int n = 0; n < 1000; ++n)
            text += std::to_string(n);
        CHECK(text.size() == 2890);
        CHECK(dlopen("no-such-library.so", RTLD_NOW) == nullptr);
        std::this_thread::sleep_for(1ms);
        CHECK(strstr(dlerror(), "no-such-library") != nullptr);
        CHECK(strstr(strerror(1000 + i), std::to_string(1000 + i).c_str()) != nullptr);
    });
    flockfile(stdout);
    std::thread prints{[] { puts("second"); }};
    std::this_thread::sleep_for(2ms);
    puts("first");
    funlockfile(stdout);
    prints.join();
}

/// A library with thread-local variables, loaded and unloaded while there are threads: each has variables of its own.
void late_libraries()
{
    std::string path(4096, '\0');
    path.resize(static_cast<size_t>(readlink("/proc/self/exe", path.data(), path.size())));
    path = path.substr(0, path.rfind('/')) + "/late.so";
    for (int round = 0; round < 3; ++round) {
        int gone = 0;
        int (*add)(int) = nullptr;
        void* library = nullptr;
        std::latch there{8};
        std::latch loaded{1};
        std::latch seen{8};
        std::latch may_end{1};
        std::vector<std::thread> all;
        for (int i = 0; i < 8; ++i)
            all.emplace_back([&, i] {
                there.arrive_and_wait();
                if (i == 3) { // one of them loads it
                    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
                    CHECK(library != nullptr);
                    reinterpret_cast<void (*)(int*)>(dlsym(library, "late_count"))(&gone);
                    add = reinterpret_cast<int (*)(int)>(dlsym(library, "late_add"));
                    loaded.count_down();
                }
                loaded.wait();
                int expected = 23;
                for (int n = 0; n < 3; ++n) {
                    CHECK(add(i) == expected);
                    expected += 3 * i;
                    std::this_thread::sleep_for(1ms);
                }
                seen.count_down();
                may_end.wait();
                CHECK(add(0) == expected);
            });
        loaded.wait();
        CHECK(add(100) == 23); // main's
        std::thread after{[&] {
            CHECK(add(1) == 23);
            std::this_thread::sleep_for(1ms);
            CHECK(add(1) == 26);
        }};
        after.join();
        seen.wait();
        CHECK(gone == 1);
        may_end.count_down();
        for (auto& each : all)
            each.join();
        CHECK(gone == 9);
        CHECK(add(-100) == 323);
        reinterpret_cast<void (*)(int*)>(dlsym(library, "late_count"))(nullptr);
        CHECK(dlclose(library) == 0);
    }
}

// ---- processes, descriptors -----------------------------------------------------------------------------------------

void forks()
{
    fflush(stdout);
    in_threads(4, [](int i) {
        const pid_t child = fork();
        if (child == 0) {
            // Alone now, with what this thread had.
            plain = i;
            int sum = 0;
            in_threads(3, [&](int n) {
                std::this_thread::sleep_for(1ms);
                sum += n;
            });
            _exit(plain + sum);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == i + 3);
        CHECK(system("exit 3") == 3 << 8);
    });
    std::thread ends_child{[] {
        const pid_t child = fork();
        if (child == 0)
            return; // the last thread of its process
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }};
    ends_child.join();
}

void pipes()
{
    int chain[11][2];
    for (auto& each : chain)
        if (pipe(each) != 0)
            exit(98);
    std::vector<std::thread> all;
    for (int i = 0; i < 10; ++i)
        all.emplace_back([&chain, i] {
            char byte = 0;
            for (int n = 0; n < 20; ++n) {
                CHECK(read(chain[i][0], &byte, 1) == 1);
                ++byte;
                CHECK(write(chain[i + 1][1], &byte, 1) == 1);
            }
        });
    for (int n = 0; n < 20; ++n) {
        char byte = static_cast<char>(n);
        CHECK(write(chain[0][1], &byte, 1) == 1 && read(chain[10][0], &byte, 1) == 1 && byte == n + 10);
    }
    for (auto& each : all)
        each.join();
}

// ---- how it ends ----------------------------------------------------------------------------------------------------

/// `count` threads at once, that all wait; prints how many the kernel has, to stderr.
void many(int count)
{
    std::mutex guard;
    std::condition_variable changed;
    int waiting = 0;
    bool go_on = false;
    std::vector<std::thread> all;
    for (int i = 0; i < count; ++i)
        all.emplace_back([&] {
            std::unique_lock held{guard};
            if (++waiting == count)
                changed.notify_all();
            changed.wait(held, [&] { return go_on; });
        });
    std::unique_lock held{guard};
    changed.wait(held, [&] { return waiting == count; });
    while (kernel_threads() != 1 && kernel_threads() != count + 1)
        std::this_thread::sleep_for(1ms); // one that has been started, or one that has left, may be on its way out
    fprintf(stderr, "%d\n", kernel_threads());
    go_on = true;
    changed.notify_all();
    held.unlock();
    for (auto& each : all)
        each.join();
    printf("%d waited\n", waiting);
}

void endings(const char* how)
{
    if (strcmp(how, "exit") == 0)
        std::thread{[] {
            std::this_thread::sleep_for(1ms);
            exit(8);
        }}.join();
    if (strcmp(how, "return") == 0)
        std::thread{[] { std::this_thread::sleep_for(1h); }}.detach();
    if (strcmp(how, "main") == 0) {
        std::thread{[] {
            std::this_thread::sleep_for(5ms);
            puts("the last");
        }}.detach();
        pthread_exit(nullptr);
    }
    if (strcmp(how, "terminate") == 0)
        std::thread{[] { throw 1; }}.join();
    if (strcmp(how, "overflow") == 0)
        std::thread{[] {
            static int (*deep)(int) = [](int n) {
                volatile char room[4096];
                room[0] = 1;
                return n == 0 ? room[0] : deep(n - 1) + room[0];
            };
            printf("%d\n", deep(1 << 30));
        }}.join();
}

/// Blocks the kernel thread, in a way that coir does not see, until there is a byte to read from standard input.
[[gnu::noinline]] void block(const char* who)
{
    printf("%s blocks\n", who);
    char byte = 0;
#if defined(__x86_64__)
    long result;
    asm volatile("syscall" : "=a"(result) : "a"(SYS_read), "D"(0), "S"(&byte), "d"(1) : "rcx", "r11", "memory");
#else
    register long x8 asm("x8") = SYS_read;
    register long x0 asm("x0") = 0;
    register char* x1 asm("x1") = &byte;
    register long x2 asm("x2") = 1;
    asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
#endif
    usleep(1000);
}

void block_in_turn()
{
    block("main");
    std::thread first{[] { block("first"); }};
    first.join();
    std::thread second{[] {
        usleep(1000);
        block("second");
    }};
    second.join();
    block("main");
}

} // namespace

int main(int count, char** arguments)
{
    const std::string what = count > 1 ? arguments[1] : "";
    if (what == "many") {
        many(2000);
        return 0;
    }
    if (what == "block") {
        setvbuf(stdout, nullptr, _IOLBF, 0);
        block_in_turn();
        return 0;
    }
    if (what == "end") {
        endings(arguments[2]);
        return 0;
    }
    const std::pair<const char*, void (*)()> groups[] = {
        {"thread_local", thread_locals},
        {"exceptions", exceptions},
        {"locks", locks},
        {"conditions", conditions},
        {"rendezvous", rendezvous},
        {"futures", futures},
        {"atomics", atomics_and_once},
        {"stopping", stopping},
        {"pthreads", pthreads},
        {"libc", libc_state},
        {"late libraries", late_libraries},
        {"forks", forks},
        {"pipes", pipes},
    };
    for (const auto& [name, run] : groups) {
        if (!what.empty() && what != name)
            continue;
        printf("%s\n", name);
        fflush(stdout);
        run();
    }
    printf("%d failures\n", failures);
    return failures != 0;
}
