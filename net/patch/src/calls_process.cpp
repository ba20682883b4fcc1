// SPDX-License-Identifier: BSL-1.0
// Waiting for processes.
#include "child_watch.hpp"
#include "interpose.hpp"
#include "libc.hpp"

#include <coir/cancellation.hpp>
#include <coir/spin_lock.hpp>

#include <signal.h>
#include <spawn.h>

#include <cerrno>
#include <memory>
#include <mutex>

namespace coir {

namespace {

/// `look` is the genuine call with WNOHANG: 0 when nothing has happened yet.
template <class Look> auto wait_in_fiber(const child_choice& choice, Look&& look) noexcept
{
    const int before = errno;
    auto result = look();
    if (result == 0) {
        child_watch watch{choice};
        while ((result = look()) == 0)
            if (!watch.wait())
                return decltype(result){-1};
    }
    if (result != -1)
        errno = before;
    return result;
}

child_choice choice_of(pid_t pid, int options) noexcept
{
    const int events = WEXITED | (options & ~(WNOHANG | WUNTRACED)) | (options & WUNTRACED ? WSTOPPED : 0);
    if (pid == -1)
        return {P_ALL, 0, events};
    if (pid > 0)
        return {P_PID, static_cast<id_t>(pid), events};
    return {P_PGID, static_cast<id_t>(pid == 0 ? ::getpgrp() : -pid), events};
}

// ---- system ---------------------------------------------------------------------------------------------------------

/// While commands run, this process ignores SIGINT and SIGQUIT, which a terminal sends to both (system(3)).
class terminal_signals_ignored {
public:
    terminal_signals_ignored() noexcept
    {
        struct sigaction ignore {};
        ignore.sa_handler = SIG_IGN;
        const std::lock_guard held{guard_};
        if (commands_++ > 0)
            return;
        ::sigaction(SIGINT, &ignore, &interrupt_);
        ::sigaction(SIGQUIT, &ignore, &quit_);
    }
    terminal_signals_ignored(const terminal_signals_ignored&) = delete;
    terminal_signals_ignored& operator=(const terminal_signals_ignored&) = delete;
    ~terminal_signals_ignored()
    {
        const std::lock_guard held{guard_};
        if (--commands_ > 0)
            return;
        ::sigaction(SIGINT, &interrupt_, nullptr);
        ::sigaction(SIGQUIT, &quit_, nullptr);
    }

    /// Those that the command must not go on ignoring.
    sigset_t to_restore() const noexcept
    {
        sigset_t set;
        ::sigemptyset(&set);
        const std::lock_guard held{guard_};
        if (interrupt_.sa_handler != SIG_IGN)
            ::sigaddset(&set, SIGINT);
        if (quit_.sa_handler != SIG_IGN)
            ::sigaddset(&set, SIGQUIT);
        return set;
    }

    static void start_over_in_child() noexcept { std::construct_at(&guard_); }

private:
    static constinit spin_lock guard_;
    static unsigned commands_;
    static struct sigaction interrupt_;
    static struct sigaction quit_;
};
constinit spin_lock terminal_signals_ignored::guard_;
unsigned terminal_signals_ignored::commands_ = 0;
struct sigaction terminal_signals_ignored::interrupt_ = {};
struct sigaction terminal_signals_ignored::quit_ = {};

[[gnu::constructor]] void watch_forks() noexcept
{
    ::pthread_atfork(nullptr, nullptr, terminal_signals_ignored::start_over_in_child);
}

/// 0 or an errno value.
int spawn_shell(const char* command, const sigset_t& defaults, pid_t& child) noexcept
{
    posix_spawnattr_t attributes;
    if (const int error = ::posix_spawnattr_init(&attributes))
        return error;
    ::posix_spawnattr_setsigdefault(&attributes, &defaults);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    const char* arguments[]{"sh", "-c", command, nullptr};
    const int error =
        ::posix_spawn(&child, "/bin/sh", nullptr, &attributes, const_cast<char* const*>(arguments), environ);
    ::posix_spawnattr_destroy(&attributes);
    return error;
}

pid_t reap(pid_t child, int& status) noexcept
{
    return wait_in_fiber({P_PID, static_cast<id_t>(child), WEXITED},
                         [&] { return libc.waitpid(child, &status, WNOHANG); });
}

int run_command(const char* command) noexcept
{
    const int before = errno;
    const terminal_signals_ignored ignored;
    pid_t child = 0;
    if (const int error = spawn_shell(command, ignored.to_restore(), child)) {
        errno = error;
        return W_EXITCODE(127, 0); // as if the shell had not been found (system(3))
    }
    int status = -1;
    if (reap(child, status) != child) {
        const int error = errno;
        if (error == ECANCELED || error == ETIMEDOUT) { // as glibc does when the thread is cancelled
            ::kill(child, SIGKILL);
            const shield uninterrupted;
            reap(child, status);
        }
        errno = error;
        return -1;
    }
    errno = before;
    return status;
}

} // namespace

COIR_INTERPOSE pid_t waitpid(pid_t pid, int* status, int options)
{
    if (outside() || options & WNOHANG)
        return libc.waitpid(pid, status, options);
    return wait_in_fiber(choice_of(pid, options), [&] { return libc.waitpid(pid, status, options | WNOHANG); });
}

COIR_INTERPOSE pid_t wait4(pid_t pid, int* status, int options, rusage* usage) noexcept
{
    if (outside() || options & WNOHANG)
        return libc.wait4(pid, status, options, usage);
    return wait_in_fiber(choice_of(pid, options), [&] { return libc.wait4(pid, status, options | WNOHANG, usage); });
}

COIR_INTERPOSE pid_t wait(int* status)
{
    return coir::waitpid(-1, status, 0);
}

COIR_INTERPOSE pid_t wait3(int* status, int options, rusage* usage) noexcept
{
    return coir::wait4(-1, status, options, usage);
}

COIR_INTERPOSE int waitid(idtype_t kind, id_t id, siginfo_t* info, int options)
{
    if (outside() || options & WNOHANG)
        return libc.waitid(kind, id, info, options);
    siginfo_t own{};
    siginfo_t* const found = info ? info : &own;
    const int events = options & ~(WNOHANG | WNOWAIT);
    // 1 when something has happened: that is what si_pid says (waitid(2)).
    const int result = wait_in_fiber({kind, id, events}, [&] {
        found->si_pid = 0;
        if (libc.waitid(kind, id, found, options | WNOHANG) == -1)
            return -1;
        return found->si_pid != 0 ? 1 : 0;
    });
    return result == 1 ? 0 : result;
}

COIR_INTERPOSE int system(const char* command)
{
    if (outside())
        return libc.system(command);
    if (!command)
        return run_command("exit 0") == 0;
    return run_command(command);
}

} // namespace coir
