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

} // namespace

int main(int, char** arguments)
{
    const std::map<std::string, std::function<void(int)>> ways{
        {"read", blocks_in_raw_read},
        {"poll", blocks_in_raw_poll},
        {"stdio", blocks_in_stdio},
        {"nanosleep", sleeps_raw},
        {"fork", forks},
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
