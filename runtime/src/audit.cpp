// SPDX-License-Identifier: BSL-1.0
// The audit's settings, its thread, and its end. What it sees: audit_look.hpp, syscall_trap.hpp; what it says:
// audit_report.hpp.
#include "audit.hpp"

#include "audit_look.hpp"
#include "audit_report.hpp"
#include "fiber_state.hpp"
#include "raw_syscall.hpp"
#include "syscall_trap.hpp"

#include <coir/outside_fiber.hpp>

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <dlfcn.h>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace coir {

namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr nanoseconds usual_limit = 10ms;
constexpr nanoseconds shortest_interval = 500us;

/// COIR_AUDIT.
struct settings {
    enum class way { best, exact, sample } how = way::best;
    nanoseconds limit = usual_limit;

    /// 1, MS, exact, sample, or one of these two, a comma and MS.
    static std::optional<settings> parse(std::string_view text) noexcept
    {
        settings result;
        const auto comma = text.find(',');
        const auto first = text.substr(0, comma);
        if (first == "exact" || first == "sample") {
            result.how = first == "exact" ? way::exact : way::sample;
            if (comma == text.npos)
                return result;
            text.remove_prefix(comma + 1);
        } else if (text == "1") {
            return result;
        }
        unsigned value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || end != text.data() + text.size() || value > 1'000'000 ||
            (value == 0 && result.how != way::exact))
            return {};
        result.limit = std::chrono::milliseconds{value};
        return result;
    }
};

class auditor {
public:
    /// Null unless the environment asks for one.
    static auditor* from_environment();

    nanoseconds limit() const noexcept { return settings_.limit; }
    /// What a trap rings; null if there is to be none.
    std::atomic<int>* trap_bell() noexcept { return traps_ ? &bell_ : nullptr; }

    void add(watched_hub& hub);
    void remove(watched_hub& hub);

private:
    explicit auditor(settings chosen) : settings_{chosen}, report_{chosen.limit} {}

    void choose_way();
    void start_thread();
    void watch();
    void ring() noexcept;
    void forked();
    void finish();

    const settings settings_;
    bool traps_ = false;
    std::atomic<int> bell_{0};     ///< a futex, which says that there is something to do
    std::atomic<int> watching_{0}; ///< a futex: the thread has started
    std::atomic<bool> finished_{false};

    std::mutex guard_; ///< for all below
    std::vector<watched_hub*> hubs_;
    std::vector<std::unique_ptr<watched_hub::proc_files>> discarded_; ///< for the thread to close
    audit_report report_;
    bool complained_ = false;
    bool had_hubs_ = false;
    bool has_thread_ = false;
    pthread_t thread_{};
};

auditor* auditor::from_environment()
{
    static auditor* const instance = []() -> auditor* {
        const char* text = std::getenv("COIR_AUDIT");
        if (!text || !*text || std::string_view{text} == "0")
            return nullptr;
        const auto chosen = settings::parse(text);
        if (!chosen) {
            print("coir: COIR_AUDIT=" + std::string{text} +
                  " is not 1, a number of milliseconds, exact, sample, or exact,MS or sample,MS: no audit\n");
            return nullptr;
        }
        // Never destroyed, and its code never unloaded: the thread may outlive everything else.
        static auto& made = *new auditor{*chosen};
        made.choose_way();
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

void auditor::choose_way()
{
    const char* obstacle = settings_.how == settings::way::sample ? nullptr : syscall_trap::obstacle();
    traps_ = settings_.how != settings::way::sample && !obstacle;
    print("coir: audit: " + std::string{traps_ ? "exact: " : "sampling: "} +
          (limit() > 0ns ? "waits of " + milliseconds_text(limit()) + " or longer" : "every wait") +
          (obstacle ? " (exact is not possible: " + std::string{obstacle} + ")\n" : "\n"));
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
    hub.finish(report_);
    discarded_.push_back(hub.take_files());
}

void auditor::start_thread()
{
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    watching_.store(0, std::memory_order_relaxed);
    has_thread_ = ::pthread_create(
                      &thread_, nullptr,
                      [](void* self) -> void* {
                          static_cast<auditor*>(self)->watch();
                          return nullptr;
                      },
                      this) == 0;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    // A fork must not catch it while it starts, with a lock of the allocator's that a child would never get; later it
    // needs none but under guard_, which the fork takes.
    while (has_thread_ && !watching_.load(std::memory_order_acquire))
        raw_syscall(SYS_futex, reinterpret_cast<long>(&watching_), FUTEX_WAIT_PRIVATE, 0, 0);
    if (has_thread_)
        ::pthread_setname_np(thread_, "coir-audit");
    else
        print("coir: audit: no thread for it\n");
}

/// In a child, in the thread that lives on. The findings so far are the parent's.
void auditor::forked()
{
    const outside_fiber guard;
    report_.clear();
    for (auto& files : discarded_)
        static_cast<void>(files.release());
    discarded_.clear();
    std::erase_if(hubs_, [](const watched_hub* hub) { return !hub->is_of_this_thread(); });
    for (auto* hub : hubs_)
        hub->forked();
    has_thread_ = false;
    had_hubs_ = !hubs_.empty();
    if (had_hubs_)
        start_thread();
    guard_.unlock();
}

void auditor::watch()
{
    watching_.store(1, std::memory_order_release);
    raw_syscall(SYS_futex, reinterpret_cast<long>(&watching_), FUTEX_WAKE_PRIVATE, 1);
#ifdef SYS_close_range
    // A table of descriptors of its own, with nothing but stderr: so the program meets no descriptor of ours and cannot
    // close one, and a pipe or socket that it closes is not kept open here.
    constexpr long unshare = 1L << 1; // CLOSE_RANGE_UNSHARE, Linux 5.9
    if (raw_syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, unshare) == 0) {
        raw_syscall(SYS_close, STDIN_FILENO);
        raw_syscall(SYS_close, STDOUT_FILENO);
    }
#endif
    const auto interval = std::max(settings_.limit / 4, shortest_interval);
    const timespec pause{.tv_sec = interval / 1s, .tv_nsec = (interval % 1s).count()};
    auto next_look = std::chrono::steady_clock::now();
    for (;;) {
        const int rung = bell_.load(std::memory_order_acquire);
        if (finished_.load(std::memory_order_acquire))
            return;
        {
            const std::scoped_lock lock{guard_};
            discarded_.clear();
            const bool looks = std::chrono::steady_clock::now() >= next_look;
            for (auto* hub : hubs_) {
                hub->take_records(report_);
                if (looks && !hub->look(report_) && !std::exchange(complained_, true))
                    print("coir: audit: cannot read /proc/self/task/ID/syscall and status here\n");
            }
            if (looks)
                next_look = std::chrono::steady_clock::now() + interval;
        }
        raw_syscall(SYS_futex, reinterpret_cast<long>(&bell_), FUTEX_WAIT_PRIVATE, rung,
                    reinterpret_cast<long>(&pause));
    }
}

void auditor::ring() noexcept
{
    bell_.fetch_add(1, std::memory_order_release);
    raw_syscall(SYS_futex, reinterpret_cast<long>(&bell_), FUTEX_WAKE_PRIVATE, 1);
}

void auditor::finish()
{
    const outside_fiber guard;
    {
        const std::scoped_lock lock{guard_};
        if (finished_.exchange(true, std::memory_order_acq_rel))
            return;
    }
    if (has_thread_) {
        ring();
        ::pthread_join(thread_, nullptr);
    }
    const std::scoped_lock lock{guard_};
    for (auto* hub : hubs_) // who calls exit within one ends no wait there
        hub->finish(report_);
    if (had_hubs_)
        print(report_.summary());
}

} // namespace

audited_hub::audited_hub(const scheduler& hub)
{
    if (auto* audit = auditor::from_environment()) {
        watched_ = std::make_unique<watched_hub>(hub, audit->limit());
        if (auto* bell = audit->trap_bell())
            watched_->trap(*bell, selector_);
        audit->add(*watched_);
    }
}

audited_hub::~audited_hub()
{
    if (watched_) {
        watched_->untrap();
        auditor::from_environment()->remove(*watched_);
    }
}

} // namespace coir
