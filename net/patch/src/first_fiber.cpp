// SPDX-License-Identifier: BSL-1.0
// libcoir-run, which `coir run` preloads after libcoir-patch: the program's main becomes the first fiber.
//
// main stays on the stack that the kernel made for it, which grows as ulimit -s says, and which is where the program,
// its garbage collector and its debugger look for it. It is the hub that gets a stack of its own:
//
//     the thread's stack:   _start, __libc_start_main, start_as_fiber, main         <- the fiber "main", once adopted
//     the hub's stack:      run_hub, runtime::run                                   <- the hub's loop
//     the fiber's stack:    adopt, which has jumped to start_as_fiber for good      <- not used any more
//
// For the scheduler the fiber has merely moved: when it parks, its registers are kept on the thread's stack. main
// returns to libc as ever, which calls exit; the hub is never taken down, as threads are not.
#include "call_group.hpp"
#include "launch_settings.hpp"
#include "signal_handlers.hpp"
#include "thread_shell.hpp"

#include <coir/net/readiness.hpp>
#include <coir/runtime.hpp>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <unistd.h>

namespace coir {

namespace {

using main_function = int (*)(int, char**, char**);

constinit main_function program_main = nullptr;
constinit bool threads_are_fibers = false;

[[noreturn]] void give_up(const char* what) noexcept
{
    std::fprintf(stderr, "coir run: %s\n", what);
    ::_exit(launch::failure);
}

// ---- the environment, as it was
// ---------------------------------------------------------------------------------------

struct settings {
    bool present = false;
    bool main_is_fiber = false;
    bool children_too = false;
    bool threads_are_fibers = false;
    char* preload_before = nullptr; ///< the entry of the environment that was there; null if there was none
};

bool is_entry(const char* entry, const char* name) noexcept
{
    const auto length = std::strlen(name);
    return std::strncmp(entry, name, length) == 0 && entry[length] == '=';
}

settings settings_of(char** environment) noexcept
{
    settings result;
    for (; *environment; ++environment) {
        if (!is_entry(*environment, launch::variable))
            continue;
        result.present = true;
        for (char* letter = *environment + std::strlen(launch::variable) + 1; *letter; ++letter) {
            if (*letter == launch::main_is_fiber)
                result.main_is_fiber = true;
            if (*letter == launch::children_too)
                result.children_too = true;
            if (*letter == launch::threads_are_fibers)
                result.threads_are_fibers = true;
            if (*letter != ':')
                continue;
            if (letter[1])
                result.preload_before = letter + 1;
            break;
        }
    }
    return result;
}

/// In place: neither the order nor the address of what remains changes.
void restore(char** environment, const settings& what) noexcept
{
    char** to = environment;
    for (char** from = environment; *from; ++from) {
        if (is_entry(*from, launch::variable) || is_entry(*from, patched_groups_variable))
            continue;
        char* entry = *from;
        if (is_entry(entry, "LD_PRELOAD"))
            entry = what.preload_before;
        if (entry)
            *to++ = entry;
    }
    *to = nullptr;
}

// ---- the first fiber
// --------------------------------------------------------------------------------------------------

struct adoption {
    ucontext_t thread; ///< the thread's own stack, where main is going to run
    ucontext_t hub;
    ucontext_t abandoned; ///< of the fiber's first stack
    runtime* fibers;
    struct sigaction on_overflow;
    stack_t signal_stack;
};

constinit adoption* adopting = nullptr;

/// Runs as the fiber, on the stack that it was given, until the thread's stack takes over.
void adopt()
{
    // The reactor, too, is there before the program opens anything.
    const int readable = ::eventfd(1, EFD_CLOEXEC);
    net::wait_ready(readable, POLLIN); // it is: this does not take long
    ::close(readable);

    // The runtime reports overflows of fibers' stacks. The program has only main's, and may ask who handles SIGSEGV.
    ::sigaction(SIGSEGV, &adopting->on_overflow, nullptr);
    ::sigaltstack(&adopting->signal_stack, nullptr);

    ::swapcontext(&adopting->abandoned, &adopting->thread);
}

void run_hub() noexcept
{
    try {
        adopting->fibers->hub(0).post({.name = "main"}, adopt);
        adopting->fibers->run();
    } catch (const std::exception& failure) {
        give_up(failure.what());
    }
    give_up("the hub ended before main");
}

void become_fiber()
{
    adoption state{};
    ::sigaction(SIGSEGV, nullptr, &state.on_overflow);
    ::sigaltstack(nullptr, &state.signal_stack);
    state.fibers = new runtime{{.hubs = 1}}; // for as long as the process lives

    // Handlers of signals may run there, and they may expect what they find on main's stack. Touched, not reserved.
    constexpr std::size_t size = 8 << 20;
    constexpr std::size_t guard = 64 << 10;
    void* stack =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || ::mprotect(stack, guard, PROT_NONE) != 0)
        give_up("no memory for the hub's stack");

    adopting = &state;
    ::getcontext(&state.hub);
    state.hub.uc_stack = {.ss_sp = stack, .ss_flags = 0, .ss_size = size};
    state.hub.uc_link = nullptr;
    ::makecontext(&state.hub, run_hub, 0);
    ::swapcontext(&state.thread, &state.hub);
    // Here it is a fiber.
    adopting = nullptr;
}

int start_as_fiber(int count, char** arguments, char** environment)
{
    try {
        const int before = errno;
        become_fiber();
        errno = before;
    } catch (const std::exception& failure) {
        give_up(failure.what());
    }
    heed_signals();
    if (threads_are_fibers)
        if (const char* why_not = thread_shell::prepare()) {
            std::fprintf(stderr, "coir run: --threads=fibers: %s\n", why_not);
            ::_exit(launch::failure);
        }
    return program_main(count, arguments, environment);
}

} // namespace

} // namespace coir

extern "C" [[gnu::visibility("default")]] int __libc_start_main(coir::main_function program, int count,
                                                                char** arguments, int (*begin)(int, char**, char**),
                                                                void (*end)(), void (*end_of_linker)(), void* stack_end)
{
    using namespace coir;
    const auto genuine = reinterpret_cast<decltype(&__libc_start_main)>(::dlsym(RTLD_NEXT, "__libc_start_main"));
    if (!genuine)
        give_up("libc has no __libc_start_main");
    char** environment = arguments + count + 1;
    const auto what = settings_of(environment);
    if (what.present && !what.children_too)
        restore(environment, what);
    if (what.main_is_fiber) {
        program_main = program;
        program = start_as_fiber;
        threads_are_fibers = what.threads_are_fibers;
    }
    return genuine(program, count, arguments, begin, end, end_of_linker, stack_end);
}
