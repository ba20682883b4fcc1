// SPDX-License-Identifier: BSL-1.0
#pragma once
// A hub, looked at by the audit's thread a few times in each span that is too long. While a fiber runs,
//
//     /proc/self/task/ID/syscall   says in which call the thread is blocked, or "running"
//     /proc/self/task/ID/status    says how often it has been switched
//
// and if neither has changed from one look to the next, the thread has not run in between: it is one and the same wait.
// The hub is not disturbed, takes no part, and pays nothing.
//
// Where the hub's calls are trapped (syscall_trap.hpp) they are recorded when they end. Then looking is for what goes
// on for long, and for page faults, which are no calls.
#include "audit_report.hpp"
#include "blocked_call.hpp"
#include "syscall_trap.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <sys/types.h>

namespace coir {

class scheduler;

/// A file of /proc that is read again and again.
class proc_file {
public:
    proc_file(pid_t thread, const char* name);
    ~proc_file();
    proc_file(const proc_file&) = delete;
    proc_file& operator=(const proc_file&) = delete;

    bool is_open() const noexcept { return descriptor_ >= 0; }
    std::string_view read() noexcept;

private:
    int descriptor_;
    std::array<char, 4096> text_{};
};

class watched_hub {
public:
    /// The audit's thread opens and closes them.
    struct proc_files {
        proc_file call;
        proc_file status;
    };

    /// On the hub's thread.
    watched_hub(const scheduler& hub, std::chrono::nanoseconds limit);

    /// From now on, and as `selector` says: see syscall_trap.
    void trap(std::atomic<int>& bell, const std::atomic<unsigned char>& selector);
    void untrap() noexcept;
    bool is_of_this_thread() const noexcept { return running_ == &current_fiber; }
    /// In a child, which has this hub's thread and not the audit's.
    void forked() noexcept;

    // The audit's thread, or under its lock.
    /// False if /proc does not tell.
    bool look(audit_report& report);
    void take_records(audit_report& report);
    /// Nobody is going to look again.
    void finish(audit_report& report);
    std::unique_ptr<proc_files> take_files() noexcept { return std::move(files_); }

private:
    struct wait {
        blocked_call call;
        std::size_t switches = 0;
        const fiber_state* fiber = nullptr;
        std::uint64_t serial = 0; ///< of a call that is trapped; 0: this is all we know

        friend bool operator==(const wait&, const wait&) = default;
    };
    using clock = std::chrono::steady_clock;

    void find_loop_stack() noexcept;
    bool is_on_loop_stack(std::uintptr_t address) const noexcept
    {
        return address >= loop_stack_ && address < loop_stack_end_;
    }
    const fiber_state* running_fiber() const noexcept;
    std::optional<wait> current_wait();
    void find(const wait& seen);
    void ended(audit_report& report);

    const scheduler& hub_;
    const std::chrono::nanoseconds limit_;
    fiber_state* const* running_ = &current_fiber; ///< the hub's thread's, which others only peek at
    /// Each storage has its own in the same place (thread_pointer.cpp).
    const std::ptrdiff_t running_in_storage_;
    pid_t thread_;
    std::uintptr_t loop_stack_ = 0;
    std::uintptr_t loop_stack_end_ = 0;
    std::unique_ptr<syscall_trap> trap_;
    std::unique_ptr<proc_files> files_;

    std::optional<wait> blocked_;
    clock::time_point since_;
    clock::time_point until_;
    std::optional<finding> found_; ///< once it has been too long
    bool told_ = false;
    std::uint64_t told_serial_ = 0;
};

} // namespace coir
