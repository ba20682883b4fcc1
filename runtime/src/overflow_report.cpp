// SPDX-License-Identifier: BSL-1.0
#include "overflow_report.hpp"

#include "fiber_state.hpp"
#include "raw_syscall.hpp"
#include "sanitizers.hpp"

#include <execinfo.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace coir {

namespace {

constexpr std::size_t signal_stack_size = 64 * 1024; // for the unwinder, which is not modest

struct sigaction previous_action;

void print(const char* text) noexcept
{
    raw_syscall(SYS_write, STDERR_FILENO, reinterpret_cast<long>(text), static_cast<long>(std::strlen(text)));
}

[[gnu::noinline]] void report(const fiber_state& fiber) noexcept
{
    const bool in_coroutine = fiber.active_stack().base != fiber.stack_bytes().base;
    std::array<char, 256> line{};
    std::snprintf(
        line.data(), line.size(),
        "coir: fiber %llu%s%s%s: stack overflow%s; it has %zu KiB (%s::stack_size, COIR_STACK_SIZE). The innermost "
        "frames:\n",
        static_cast<unsigned long long>(fiber.id.value), *fiber.name ? " (" : "", fiber.name, *fiber.name ? ")" : "",
        in_coroutine ? " in a coroutine" : "", fiber.active_stack().size / 1024,
        in_coroutine ? "coroutine_options" : "fiber_options");
    print(line.data());
    std::array<void*, 32> frames{};
    ::backtrace_symbols_fd(frames.data(), ::backtrace(frames.data(), frames.size()), STDERR_FILENO);
}

bool is_overflow(const fiber_state* fiber, const void* address) noexcept
{
    if (!fiber)
        return false;
    const auto* at = static_cast<const std::byte*>(address);
    const auto* base = fiber->active_stack().base;
    return at < base && at >= base - ::sysconf(_SC_PAGESIZE);
}

void on_fault(int number, siginfo_t* info, void* details)
{
    if (is_overflow(current_fiber, info->si_addr)) {
        report(*current_fiber);
    } else if (previous_action.sa_flags & SA_SIGINFO) {
        previous_action.sa_sigaction(number, info, details);
        return;
    } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
        previous_action.sa_handler(number);
        return;
    }
    // The same instruction faults again when we return, and then does what it would have done without us.
    ::signal(number, SIG_DFL);
}

void install_handler() noexcept
{
    // The first unwinding loads libgcc and allocates: not a thing to do in the handler.
    void* frame;
    ::backtrace(&frame, 1);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGSEGV, &action, &previous_action);
}

} // namespace

overflow_report::overflow_report()
{
    if (COIR_ASAN || COIR_TSAN)
        return;
    static const bool installed = (install_handler(), true);
    static_cast<void>(installed);

    stack_t existing{};
    if (::sigaltstack(nullptr, &existing) != 0 || !(existing.ss_flags & SS_DISABLE))
        return;
    stack_ = std::make_unique<std::byte[]>(signal_stack_size);
    const stack_t ours{.ss_sp = stack_.get(), .ss_flags = 0, .ss_size = signal_stack_size};
    ::sigaltstack(&ours, nullptr);
}

overflow_report::~overflow_report()
{
    if (!stack_)
        return;
    const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    ::sigaltstack(&none, nullptr);
}

} // namespace coir
