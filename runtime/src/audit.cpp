// SPDX-License-Identifier: BSL-1.0
// A thread looks at the hubs' threads a few times in each span that is too long. While a fiber runs,
//
//     /proc/self/task/ID/syscall   says in which call the thread is blocked, or "running"
//     /proc/self/task/ID/status    says how often it has been switched
//
// and if neither has changed from one look to the next, the thread has not run in between: it is one and the same wait.
// The hub is not disturbed, takes no part, and pays nothing. (Syscall User Dispatch, which traps each call, could name
// short ones too. It costs 1.7 us for each, needs a signal and its frame on the fiber's stack, and the handler would
// have to know which calls are ours.)
#include "audit.hpp"

#include "blocked_call.hpp"
#include "fiber_state.hpp"
#include "raw_syscall.hpp"
#include "scheduler.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace coir {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using time_point = std::chrono::steady_clock::time_point;

/// How long a wait may go on, in thresholds, before it is reported although it has not ended.
constexpr int patience = 10;
constexpr auto quiet_time = 1s; ///< between two lines about one place
constexpr auto shortest_interval = 500us;

/// Where in the program it happens.
using call_site = std::tuple<long, std::uintptr_t, std::uintptr_t>;

struct site_record {
    std::string place;
    std::size_t times = 0;
    std::size_t unsaid = 0;
    milliseconds total{};
    milliseconds longest{};
    time_point quiet_until;
};

struct finding {
    call_site site;
    std::string who;
    std::string what;
    std::string place;
};

void print(const std::string& line) noexcept
{
    raw_syscall(SYS_write, STDERR_FILENO, reinterpret_cast<long>(line.data()), static_cast<long>(line.size()));
}

std::string milliseconds_text(milliseconds time)
{
    return std::to_string(time.count()) + " ms";
}

/// Fibers call exit and fork too, and what happens around these must not suspend them.
struct outside_fiber {
    fiber_state* fiber = std::exchange(current_fiber, nullptr);
    outside_fiber() = default;
    outside_fiber(const outside_fiber&) = delete;
    outside_fiber& operator=(const outside_fiber&) = delete;
    ~outside_fiber() { current_fiber = fiber; }
};

/// A file of /proc that is read again and again.
class proc_file {
public:
    proc_file(pid_t thread, const char* name)
    {
        const auto path = "/proc/self/task/" + std::to_string(thread) + '/' + name;
        descriptor_ = static_cast<int>(
            raw_syscall(SYS_openat, AT_FDCWD, reinterpret_cast<long>(path.c_str()), O_RDONLY | O_CLOEXEC));
    }
    ~proc_file() { raw_syscall(SYS_close, descriptor_); }
    proc_file(const proc_file&) = delete;
    proc_file& operator=(const proc_file&) = delete;

    bool is_open() const noexcept { return descriptor_ >= 0; }
    std::string_view read() noexcept
    {
        const long size = raw_syscall(SYS_pread64, descriptor_, reinterpret_cast<long>(text_.data()),
                                      static_cast<long>(text_.size()), 0);
        return {text_.data(), static_cast<std::size_t>(std::max(size, 0L))};
    }

private:
    int descriptor_;
    std::array<char, 4096> text_{};
};

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

struct watched_hub {
    explicit watched_hub(const scheduler& which) : hub{which} { find_loop_stack(); }

    void find_loop_stack()
    {
        pthread_attr_t attributes;
        if (::pthread_getattr_np(::pthread_self(), &attributes) != 0)
            return;
        void* lowest = nullptr;
        std::size_t size = 0;
        ::pthread_attr_getstack(&attributes, &lowest, &size);
        ::pthread_attr_destroy(&attributes);
        loop_stack = reinterpret_cast<std::uintptr_t>(lowest);
        loop_stack_end = loop_stack + size;
    }
    bool is_on_loop_stack(std::uintptr_t address) const noexcept
    {
        return address >= loop_stack && address < loop_stack_end;
    }

    const scheduler& hub;
    fiber_state* const* running = &current_fiber; ///< the hub's thread's, which others only peek at
    pid_t thread = ::gettid();
    std::uintptr_t loop_stack = 0;
    std::uintptr_t loop_stack_end = 0;

    /// The watching thread opens and closes them.
    struct proc_files {
        proc_file call;
        proc_file status;
    };
    std::unique_ptr<proc_files> files;

    struct wait {
        blocked_call call;
        std::size_t switches = 0;
        const fiber_state* fiber = nullptr;

        friend bool operator==(const wait&, const wait&) = default;
    };
    std::optional<wait> blocked;
    time_point since;
    time_point until;
    std::optional<finding> found; ///< once it has been too long
    bool reported = false;
};

namespace {

class auditor {
public:
    /// Null unless the environment asks for one.
    static auditor* from_environment();

    void add(watched_hub& hub);
    void remove(watched_hub& hub);

private:
    explicit auditor(milliseconds threshold) noexcept : threshold_{threshold} {}

    void start_thread();
    void watch();
    void look(watched_hub& hub, time_point now);
    std::optional<watched_hub::wait> wait_of(watched_hub& hub) const;
    void too_long(watched_hub& hub, const watched_hub::wait& wait) const;
    void ended(watched_hub& hub);
    void report(const watched_hub& hub, const finding& found, milliseconds time, bool goes_on);
    void count(const finding& found, milliseconds time);
    void forked();
    void finish();
    std::string summary() const;

    const milliseconds threshold_;
    std::mutex guard_; ///< for all below
    std::vector<watched_hub*> hubs_;
    std::vector<std::unique_ptr<watched_hub::proc_files>> discarded_; ///< for the thread to close
    std::map<call_site, site_record> sites_;
    bool complained_ = false;
    bool had_hubs_ = false;
    bool has_thread_ = false;
    pthread_t thread_{};
    std::atomic<int> finished_{0}; ///< a futex
};

auditor* auditor::from_environment()
{
    static auditor* const instance = []() -> auditor* {
        const char* text = std::getenv("COIR_AUDIT");
        if (!text || !*text)
            return nullptr;
        char* end = nullptr;
        const long threshold = std::strtol(text, &end, 10);
        if (*end || threshold < 0 || threshold > 1'000'000) {
            print("coir: COIR_AUDIT=" + std::string{text} + " is no number of milliseconds: no audit\n");
            return nullptr;
        }
        if (threshold == 0)
            return nullptr;
        // Never destroyed, and its code never unloaded: the thread may outlive everything else.
        static auto& made = *new auditor{milliseconds{threshold}};
        Dl_info self{};
        if (::dladdr(reinterpret_cast<void*>(&coir::describe_code), &self))
            ::dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
        std::atexit([] { made.finish(); });
        ::pthread_atfork(
            [] {
                const outside_fiber guard;
                made.guard_.lock();
            },
            [] { made.guard_.unlock(); }, [] { made.forked(); });
        return &made;
    }();
    return instance;
}

void auditor::add(watched_hub& hub)
{
    const std::scoped_lock lock{guard_};
    if (finished_.load(std::memory_order_relaxed))
        return;
    hubs_.push_back(&hub);
    had_hubs_ = true;
    if (!has_thread_)
        start_thread();
}

void auditor::remove(watched_hub& hub)
{
    const std::scoped_lock lock{guard_};
    std::erase(hubs_, &hub);
    if (hub.blocked)
        ended(hub);
    discarded_.push_back(std::move(hub.files));
}

void auditor::start_thread()
{
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    has_thread_ = ::pthread_create(
                      &thread_, nullptr,
                      [](void* self) -> void* {
                          static_cast<auditor*>(self)->watch();
                          return nullptr;
                      },
                      this) == 0;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (has_thread_)
        ::pthread_setname_np(thread_, "coir-audit");
    else
        print("coir: audit: no thread for it\n");
}

/// In a child, in the thread that lives on. The findings so far are the parent's.
void auditor::forked()
{
    const outside_fiber guard;
    sites_.clear();
    for (auto& files : discarded_)
        static_cast<void>(files.release());
    discarded_.clear();
    std::erase_if(hubs_, [](const watched_hub* hub) { return hub->running != &current_fiber; });
    for (auto* hub : hubs_) {
        hub->thread = ::gettid();
        static_cast<void>(hub->files.release()); // open in the parent's thread, not here
        hub->blocked.reset();
        hub->found.reset();
        hub->reported = false;
    }
    has_thread_ = false;
    had_hubs_ = !hubs_.empty();
    if (had_hubs_)
        start_thread();
    guard_.unlock();
}

// ---- watching -------------------------------------------------------------------------------------------------------

void auditor::watch()
{
#ifdef SYS_close_range
    // A table of descriptors of its own, with nothing but stderr: so the program meets no descriptor of ours and cannot
    // close one, and a pipe or socket that it closes is not kept open here.
    constexpr long unshare = 1L << 1; // CLOSE_RANGE_UNSHARE, Linux 5.9
    if (raw_syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, unshare) == 0) {
        raw_syscall(SYS_close, STDIN_FILENO);
        raw_syscall(SYS_close, STDOUT_FILENO);
    }
#endif
    const auto interval =
        std::max<std::chrono::nanoseconds>(std::chrono::nanoseconds{threshold_} / 4, shortest_interval);
    const timespec pause{.tv_sec = interval / 1s, .tv_nsec = (interval % 1s).count()};
    while (!finished_.load(std::memory_order_acquire)) {
        {
            const std::scoped_lock lock{guard_};
            discarded_.clear();
            const auto now = std::chrono::steady_clock::now();
            for (auto* hub : hubs_)
                look(*hub, now);
        }
        raw_syscall(SYS_futex, reinterpret_cast<long>(&finished_), FUTEX_WAIT_PRIVATE, 0,
                    reinterpret_cast<long>(&pause));
    }
}

/// What the hub's thread waits for in the kernel; nothing if it runs, or waits because it has nothing to do.
std::optional<watched_hub::wait> auditor::wait_of(watched_hub& hub) const
{
    const fiber_state* fiber = nullptr;
    if (peek(hub.running, &fiber, sizeof fiber) != sizeof fiber) // NOLINT(bugprone-sizeof-expression)
        return {};
    const auto call = blocked_call::parse(hub.files->call.read());
    if (!call)
        return {};
    if (!fiber) {
        // In the loop, or a fiber that has asked for no suspension here, which is then meant.
        if (call->is_idling() || !hub.is_on_loop_stack(call->stack))
            return {};
    }
    const auto status = task_status::parse(hub.files->status.read());
    if (!status.sleeps)
        return {};
    return watched_hub::wait{.call = *call, .switches = status.switches, .fiber = fiber};
}

void auditor::look(watched_hub& hub, time_point now)
{
    if (!hub.files)
        hub.files.reset(new watched_hub::proc_files{{hub.thread, "syscall"}, {hub.thread, "status"}});
    if (!hub.files->call.is_open() || !hub.files->status.is_open()) {
        if (!std::exchange(complained_, true))
            print("coir: audit: cannot read /proc/self/task/ID/syscall and status here\n");
        return;
    }
    const auto seen = wait_of(hub);
    if (hub.blocked && seen != hub.blocked)
        ended(hub);
    if (!seen)
        return;
    if (!hub.blocked) {
        hub.blocked = seen;
        hub.since = now;
    }
    hub.until = now;
    if (!hub.found && now - hub.since >= threshold_)
        too_long(hub, *seen);
    if (hub.found && !hub.reported && now - hub.since >= patience * threshold_) {
        hub.reported = true;
        report(hub, *hub.found, std::chrono::duration_cast<milliseconds>(now - hub.since), true);
    }
}

/// While it lasts: later nothing of it is left on the stack.
void auditor::too_long(watched_hub& hub, const watched_hub::wait& wait) const
{
    const auto& [call, switches, fiber] = wait;
    const auto [entry, callers] = call.find_path();
    finding result;
    result.site = {call.number, call.code, callers.empty() ? 0 : callers.front()};
    result.place = " in " + describe_code(entry);
    const char* separator = ", called from ";
    for (const auto caller : callers) {
        result.place += separator + describe_code(caller);
        separator = ", ";
    }
    result.what = call.describe();
    if (fiber) {
        fiber_id id{};
        std::array<char, sizeof fiber->name> name{};
        peek(&fiber->id, &id, sizeof id);
        peek(&fiber->name, name.data(), name.size() - 1);
        result.who = "fiber " + std::to_string(id.value) + (name[0] ? " (" + std::string{name.data()} + ')' : "");
    } else {
        result.who = "the loop";
    }
    if (wait_of(hub) == wait) // else some of this was read too late
        hub.found = std::move(result);
}

void auditor::ended(watched_hub& hub)
{
    const auto time = std::chrono::duration_cast<milliseconds>(hub.until - hub.since);
    if (hub.found) {
        if (!hub.reported)
            report(hub, *hub.found, time, false);
        count(*hub.found, time);
    }
    hub.blocked.reset();
    hub.found.reset();
    hub.reported = false;
}

// ---- telling --------------------------------------------------------------------------------------------------------

void auditor::report(const watched_hub& hub, const finding& found, milliseconds time, bool goes_on)
{
    auto& site = sites_[found.site];
    const auto now = std::chrono::steady_clock::now();
    if (now < site.quiet_until) {
        ++site.unsaid;
        return;
    }
    site.quiet_until = now + quiet_time;
    auto line = "coir: audit: " + found.who + " has blocked hub " + std::to_string(hub.hub.index()) + " for " +
                milliseconds_text(time) + (goes_on ? " and still does: " : ": ") + found.what + found.place;
    if (const auto unsaid = std::exchange(site.unsaid, 0))
        line += "; and " + std::to_string(unsaid) + " times before";
    print(line + '\n');
}

void auditor::count(const finding& found, milliseconds time)
{
    auto& site = sites_[found.site];
    if (site.place.empty())
        site.place = found.what.substr(0, found.what.find(" of descriptor")) + found.place;
    ++site.times;
    site.total += time;
    site.longest = std::max(site.longest, time);
}

std::string auditor::summary() const
{
    const auto limit = milliseconds_text(threshold_);
    std::vector<const site_record*> sites;
    for (const auto& [key, site] : sites_)
        if (site.times)
            sites.push_back(&site);
    if (sites.empty())
        return "coir: audit: nothing has blocked a hub for " + limit + "\n";
    std::ranges::sort(sites, std::greater{}, &site_record::total);

    std::size_t times = 0;
    milliseconds total{};
    for (const auto* site : sites) {
        times += site->times;
        total += site->total;
    }
    auto text = "coir: audit: hubs were blocked for " + limit + " or longer " + std::to_string(times) + " times, " +
                milliseconds_text(total) + " in all\n";
    for (const auto* site : sites)
        text += "coir: audit:   " + std::to_string(site->times) + " times, " + milliseconds_text(site->total) +
                ", at most " + milliseconds_text(site->longest) + ": " + site->place + '\n';
    return text;
}

void auditor::finish()
{
    const outside_fiber guard;
    {
        const std::scoped_lock lock{guard_};
        if (finished_.exchange(1, std::memory_order_acq_rel))
            return;
    }
    if (has_thread_) {
        raw_syscall(SYS_futex, reinterpret_cast<long>(&finished_), FUTEX_WAKE_PRIVATE, 1);
        ::pthread_join(thread_, nullptr);
    }
    const std::scoped_lock lock{guard_};
    for (auto* hub : hubs_) // who calls exit within one ends no wait there
        if (hub->blocked)
            ended(*hub);
    if (had_hubs_)
        print(summary());
}

} // namespace

audited_hub::audited_hub(const scheduler& hub)
{
    if (auto* audit = auditor::from_environment()) {
        watched_ = std::make_unique<watched_hub>(hub);
        audit->add(*watched_);
    }
}

audited_hub::~audited_hub()
{
    if (watched_)
        auditor::from_environment()->remove(*watched_);
}

} // namespace coir
