// SPDX-License-Identifier: BSL-1.0
#include "audit_look.hpp"

#include "fiber_state.hpp"
#include "raw_syscall.hpp"
#include "scheduler.hpp"

#include <coir/thread_pointer.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace coir {

namespace {

using namespace std::chrono_literals;

/// How long a wait may go on, in limits, before it is told although it has not ended.
constexpr int patience = 10;
constexpr std::chrono::nanoseconds least_patience = 10ms;

std::size_t number_after(std::string_view text, std::string_view label) noexcept
{
    std::size_t value = 0;
    if (const auto at = text.find(label); at != text.npos)
        std::from_chars(text.data() + at + label.size(), text.data() + text.size(), value);
    return value;
}

struct task_status {
    bool sleeps = false; ///< and is not stopped by a debugger
    std::size_t switches = 0;

    static task_status parse(std::string_view text) noexcept
    {
        const auto state = text.find("\nState:\t");
        return {.sleeps = state != text.npos && (text.substr(state + 8, 1) == "S" || text.substr(state + 8, 1) == "D"),
                .switches = number_after(text, "\nvoluntary_ctxt_switches:\t") +
                            number_after(text, "\nnonvoluntary_ctxt_switches:\t")};
    }
};

} // namespace

proc_file::proc_file(pid_t thread, const char* name)
{
    const auto path = "/proc/self/task/" + std::to_string(thread) + '/' + name;
    descriptor_ =
        static_cast<int>(raw_syscall(SYS_openat, AT_FDCWD, reinterpret_cast<long>(path.c_str()), O_RDONLY | O_CLOEXEC));
}

proc_file::~proc_file()
{
    raw_syscall(SYS_close, descriptor_);
}

std::string_view proc_file::read() noexcept
{
    const long size =
        raw_syscall(SYS_pread64, descriptor_, reinterpret_cast<long>(text_.data()), static_cast<long>(text_.size()), 0);
    return {text_.data(), static_cast<std::size_t>(std::max(size, 0L))};
}

watched_hub::watched_hub(const scheduler& hub, std::chrono::nanoseconds limit)
    : hub_{hub},
      limit_{limit},
      running_in_storage_{reinterpret_cast<const std::byte*>(&current_fiber) -
                          static_cast<const std::byte*>(thread_pointer())},
      thread_{::gettid()}
{
    find_loop_stack();
}

void watched_hub::find_loop_stack() noexcept
{
    pthread_attr_t attributes;
    if (::pthread_getattr_np(::pthread_self(), &attributes) != 0)
        return;
    void* lowest = nullptr;
    std::size_t size = 0;
    ::pthread_attr_getstack(&attributes, &lowest, &size);
    ::pthread_attr_destroy(&attributes);
    loop_stack_ = reinterpret_cast<std::uintptr_t>(lowest);
    loop_stack_end_ = loop_stack_ + size;
}

void watched_hub::trap(std::atomic<int>& bell, const std::atomic<unsigned char>& selector)
{
    trap_ = std::make_unique<syscall_trap>(limit_, bell, selector);
    trap_->arm();
}

void watched_hub::untrap() noexcept
{
    if (trap_)
        trap_->disarm();
}

void watched_hub::forked() noexcept
{
    thread_ = ::gettid();
    static_cast<void>(files_.release()); // open in the parent's thread, not here
    blocked_.reset();
    found_.reset();
    told_ = false;
    if (trap_) {
        trap_->discard_records();
        trap_->arm();
    }
}

/// Null too if it is gone while we look.
const fiber_state* watched_hub::running_fiber() const noexcept
{
    const auto* from = running_;
    const std::byte* storage = nullptr;
    if (peek(hub_.storage_in_use(), &storage, sizeof storage) == sizeof storage &&
        storage) // NOLINT(bugprone-sizeof-expression)
        from = reinterpret_cast<fiber_state* const*>(storage + running_in_storage_);
    const fiber_state* fiber = nullptr;
    peek(from, &fiber, sizeof fiber); // NOLINT(bugprone-sizeof-expression)
    return fiber;
}

/// What the hub's thread waits for in the kernel; nothing if it runs, or waits because it has nothing to do.
std::optional<watched_hub::wait> watched_hub::current_wait()
{
    const auto* fiber = running_fiber();
    auto call = blocked_call::parse(files_->call.read());
    if (!call)
        return {};
    std::uint64_t serial = 0;
    const bool is_call = call->number != blocked_call::page_fault;
    if (const auto trapped = trap_ && is_call ? trap_->current() : std::nullopt) {
        call = trapped->call;
        serial = trapped->serial;
        fiber = trapped->fiber;
    } else if (trap_ && is_call && fiber) {
        return {};
    } else if (!fiber) {
        // In the loop, or a fiber that has asked for no suspension here, which is then meant.
        if (call->is_idling() || !is_on_loop_stack(call->stack))
            return {};
    }
    const auto status = task_status::parse(files_->status.read());
    if (!status.sleeps)
        return {};
    return wait{.call = *call, .switches = status.switches, .fiber = fiber, .serial = serial};
}

bool watched_hub::look(audit_report& report)
{
    if (!files_)
        files_.reset(new proc_files{{thread_, "syscall"}, {thread_, "status"}});
    if (!files_->call.is_open() || !files_->status.is_open())
        return false;
    const auto now = clock::now();
    const auto seen = current_wait();
    if (blocked_ && seen != blocked_)
        ended(report);
    if (!seen)
        return true;
    if (!blocked_) {
        blocked_ = seen;
        since_ = now;
    }
    until_ = now;
    const auto lasted = now - since_;
    const bool lasts_on = lasted >= std::max(patience * limit_, least_patience);
    if (!found_ && (lasts_on || (!seen->serial && lasted >= limit_)))
        find(*seen);
    if (found_ && !told_ && lasts_on) {
        told_ = true;
        told_serial_ = seen->serial;
        report.tell(*found_, hub_.index(), std::chrono::duration_cast<std::chrono::milliseconds>(lasted), true);
    }
    return true;
}

/// While it lasts: later nothing of it is left on the stack.
void watched_hub::find(const wait& seen)
{
    fiber_id id{};
    std::array<char, sizeof seen.fiber->name> name{};
    if (seen.fiber) {
        peek(&seen.fiber->id, &id, sizeof id);
        peek(&seen.fiber->name, name.data(), name.size() - 1);
    }
    auto result =
        finding::of(seen.call, call_descriptors::of(seen.call), stack_words::at(seen.call.stack), id, name.data());
    if (current_wait() == seen) // else some of this was read too late
        found_ = std::move(result);
}

void watched_hub::ended(audit_report& report)
{
    // A trapped call has a record, or is going to have one.
    if (found_ && blocked_ && !blocked_->serial) {
        const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(until_ - since_);
        if (!told_)
            report.tell(*found_, hub_.index(), time, false);
        report.count(*found_, time);
    }
    blocked_.reset();
    found_.reset();
    told_ = false;
}

void watched_hub::take_records(audit_report& report)
{
    if (!trap_)
        return;
    while (const auto record = trap_->take()) {
        const auto found =
            finding::of(record->call, record->descriptors, record->stack, record->fiber, record->fiber_name.data());
        if (record->serial != told_serial_)
            report.tell(found, hub_.index(), record->time, false);
        report.count(found, record->time);
    }
    report.count_lost(trap_->take_lost());
}

void watched_hub::finish(audit_report& report)
{
    if (blocked_)
        ended(report);
    take_records(report);
}

} // namespace coir
