// SPDX-License-Identifier: BSL-1.0
// A program that blocks its hub in ways no symbol shows. With COIR_AUDIT each of them must be told; audit_test.cpp runs
// it, and knows with which words. Its own standard error is read here, so that a fiber can stay blocked for exactly as
// long as it takes the audit to notice: nothing depends on how fast the machine is.
#include <coir/fiber.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>

namespace {

/// What an assembler program, a static binary or a language runtime does.
long raw(long number, long a, long b = 0, long c = 0, long d = 0)
{
    long result;
#if defined(__x86_64__)
    register long r10 asm("r10") = d;
    asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
#else
    register long x8 asm("x8") = number;
    register long x0 asm("x0") = a;
    register long x1 asm("x1") = b;
    register long x2 asm("x2") = c;
    register long x3 asm("x3") = d;
    asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    result = x0;
#endif
    return result;
}

long address(const void* of)
{
    return reinterpret_cast<long>(of);
}

/// Passes our standard error on, and lets the blocked go as soon as somebody has been told about.
class listener {
public:
    listener() : original_{::dup(STDERR_FILENO)}
    {
        int ends[2];
        if (::pipe(ends) != 0 || ::pipe(wake_) != 0)
            std::abort();
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[1]);
        std::thread{[this, from = ends[0]] { listen(from); }}.detach();
    }
    /// The audit keeps the other end of the pipe, so there is no end of file: never destroyed.
    void leave() const { ::dup2(original_, STDERR_FILENO); }

    int readable_when_told() const { return wake_[0]; }

private:
    void listen(int from)
    {
        std::string said;
        char buffer[512];
        for (ssize_t size; (size = ::read(from, buffer, sizeof buffer)) > 0;) {
            if (::write(original_, buffer, static_cast<std::size_t>(size)) != size)
                std::abort();
            said.append(buffer, static_cast<std::size_t>(size));
            for (std::size_t end; (end = said.find('\n')) != said.npos; said.erase(0, end + 1))
                if (said.find(" has blocked hub ") < end && ::write(wake_[1], "!", 1) != 1)
                    std::abort();
        }
    }

    int original_;
    int wake_[2];
};

} // namespace

extern "C" {

// Exported, so that the audit can name them.
[[gnu::visibility("default"), gnu::noinline]] void blocks_in_raw_read(int descriptor)
{
    char byte;
    raw(SYS_read, descriptor, address(&byte), 1);
    asm volatile("" ::: "memory");
}

[[gnu::visibility("default"), gnu::noinline]] void blocks_in_raw_poll(int descriptor)
{
    pollfd entry{descriptor, POLLIN, 0};
    raw(SYS_ppoll, address(&entry), 1);
    asm volatile("" ::: "memory");
}

[[gnu::visibility("default"), gnu::noinline]] void naps_by_instruction()
{
    const timespec nap{.tv_sec = 0, .tv_nsec = 1'000'000};
    for (int i = 0; i < 50; ++i)
        raw(SYS_nanosleep, address(&nap), 0);
    asm volatile("" ::: "memory");
}

[[gnu::visibility("default"), gnu::noinline]] void blocks_in_stdio(int descriptor)
{
    char line[8];
    FILE* file = ::fdopen(::dup(descriptor), "r");
    ::setvbuf(file, nullptr, _IONBF, 0);
    if (::fread(line, 1, 1, file) != 1)
        std::abort();
    ::fclose(file);
}
}

namespace {

void sleeps_raw(int descriptor)
{
    // A sleep that is longer than any test, ended when it has been told.
    std::thread alarm{[&, sleeper = ::gettid()] {
        blocks_in_raw_read(descriptor);
        ::syscall(SYS_tgkill, ::getpid(), sleeper, SIGUSR1);
    }};
    ::signal(SIGUSR1, [](int) {});
    timespec long_time{.tv_sec = 3600, .tv_nsec = 0};
    raw(SYS_nanosleep, address(&long_time), 0);
    alarm.join();
}

void forks(int descriptor)
{
    if (const pid_t child = ::fork()) {
        int status = 0;
        coir::offload([&] { return ::waitpid(child, &status, 0); });
        if (status != 0)
            std::abort();
        return;
    }
    coir::fiber blocked{{.name = "in the child"}, [=] { blocks_in_raw_read(descriptor); }};
    blocked.join();
    ::_exit(0);
}

/// What is no offence: coir's own waits, helper threads, and a hub that has nothing to do.
void behaves(int)
{
    using namespace std::chrono_literals;
    coir::this_fiber::sleep_for(100ms);
    coir::offload([] { std::this_thread::sleep_for(100ms); });
}

// ---- what a trap for each call could spoil --------------------------------------------------------------------------

void expect(bool as_ever, const char* what)
{
    if (as_ever)
        return;
    std::fprintf(stderr, "not as ever: %s\n", what);
    std::_Exit(1);
}

volatile std::sig_atomic_t handled = 0;
sigjmp_buf way_out;

void takes_signal(int)
{
    raw(SYS_getpid, 0);
    handled = handled + 1;
}

void leaves_by_jump(int)
{
    raw(SYS_getpid, 0);
    ::siglongjmp(way_out, 1);
}

/// A handler whose mask has every signal in it.
void handle(int signal, void (*handler)(int))
{
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigfillset(&action.sa_mask);
    expect(::sigaction(signal, &action, nullptr) == 0, "sigaction");
}

void masks_signals()
{
    sigset_t all;
    sigset_t before;
    sigset_t within;
    ::sigfillset(&all);
    expect(::pthread_sigmask(SIG_SETMASK, &all, &before) == 0, "masking all");
    raw(SYS_getpid, 0);
    std::thread{[] { raw(SYS_getpid, 0); }}.join();
    ::raise(SIGUSR1);
    expect(::pthread_sigmask(SIG_SETMASK, &before, &within) == 0, "unmasking");
    expect(!::sigismember(&before, SIGUSR1) && !::sigismember(&before, SIGSYS), "the mask before");
    expect(::sigismember(&within, SIGUSR1) == 1 && ::sigismember(&within, SIGSYS) == 1, "the mask within");
    expect(handled == 1, "a signal that was pending");
    expect(::pthread_sigmask(12345, &all, nullptr) == EINVAL, "what no mask does");

    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    ::raise(SIGUSR1);
    sigset_t none;
    ::sigfillset(&none);
    ::sigdelset(&none, SIGUSR1);
    expect(::ppoll(nullptr, 0, nullptr, &none) == -1 && errno == EINTR && handled == 2, "ppoll with a mask");
    ::raise(SIGUSR1);
    expect(::sigsuspend(&none) == -1 && handled == 3, "sigsuspend");
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void handles_signals()
{
    ::raise(SIGUSR1);
    expect(handled == 4, "a handler");
    handle(SIGUSR2, leaves_by_jump);
    for (int i = 0; i < 3; ++i)
        if (::sigsetjmp(way_out, 1) == 0) {
            ::raise(SIGUSR2);
            expect(false, "a jump out of a handler");
        }
    struct sigaction found {};
    handle(SIGSYS, takes_signal);
    expect(::sigaction(SIGSYS, nullptr, &found) == 0 && found.sa_handler == takes_signal, "whose SIGSYS it is");
    ::raise(SIGSYS);
    expect(handled == 5, "SIGSYS");
}

void has_children()
{
    int status = -1;
    const pid_t forked = ::fork();
    if (forked == 0)
        ::_exit(7);
    expect(::waitpid(forked, &status, 0) == forked && WEXITSTATUS(status) == 7, "fork");
    const pid_t borrowed = ::vfork(); // NOLINT
    if (borrowed == 0)
        ::_exit(8);
    expect(::waitpid(borrowed, &status, 0) == borrowed && WEXITSTATUS(status) == 8, "vfork");
    expect(WEXITSTATUS(std::system("exit 9")) == 9, "system");
}

void meddles(int)
{
    handle(SIGUSR1, takes_signal);
    masks_signals();
    handles_signals();
    has_children();

    static char bytes[1 << 16];
    const stack_t given{.ss_sp = bytes, .ss_flags = 0, .ss_size = sizeof bytes};
    stack_t before{};
    stack_t found{};
    expect(::sigaltstack(&given, &before) == 0 && ::sigaltstack(nullptr, &found) == 0 && found.ss_sp == bytes,
           "the alternative stack");
    ::sigaltstack(&before, nullptr);

    expect(raw(SYS_read, -1, 0, 0) == -EBADF, "an error");
    expect(::kill(::getpid(), 0) == 0, "a call");
}

} // namespace

int main(int, char** arguments)
{
    const std::map<std::string, std::function<void(int)>> ways{
        {"read", blocks_in_raw_read},
        {"poll", blocks_in_raw_poll},
        {"stdio", blocks_in_stdio},
        {"nanosleep", sleeps_raw},
        {"fork", forks},
        {"naps", [](int) { naps_by_instruction(); }},
        {"meddling", meddles},
        {"nothing", behaves},
    };
    const auto& way = ways.at(arguments[1]);
    static auto& ears = *new listener;
    coir::run([&] {
        coir::fiber culprit{{.name = "culprit"}, [&] { way(ears.readable_when_told()); }};
        culprit.join();
    });
    ears.leave();
}
