// SPDX-License-Identifier: BSL-1.0
// A handler that tells every set, and an event descriptor for each set, by which its fibers are woken. In the handler
// there is no lock and no allocation: it walks a list whose links are atomic, and who takes a set out of the list waits
// until no handler is in it.
#include <coir/net/signal.hpp>

#include "signal_name.hpp"

#include <coir/net/readiness.hpp>
#include <coir/net/unique_fd.hpp>
#include <coir/spin_lock.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

namespace coir::net {

class signal_receiver {
public:
    explicit signal_receiver(std::initializer_list<int> signals);
    signal_receiver(const signal_receiver&) = delete;
    signal_receiver& operator=(const signal_receiver&) = delete;
    ~signal_receiver();

    int descriptor() const noexcept { return descriptor_.get(); }
    std::optional<int> take() noexcept;

    // In handlers.
    void receive(int signal) noexcept;
    signal_receiver* following() const noexcept { return next_.load(std::memory_order_acquire); }

    /// In a forked child, which would tell its parent otherwise.
    void start_over_in_child() noexcept;

private:
    void enlist() noexcept;
    void leave() noexcept;
    void unwatch_before(int end) noexcept;
    bool is_wanted(int signal) const noexcept { return wanted_[static_cast<std::size_t>(signal)]; }

    std::array<bool, NSIG> wanted_; ///< does not change: handlers look at it
    unique_fd descriptor_;          ///< counts the signals that nobody has taken; each read takes one from the count
    std::array<std::atomic<unsigned>, NSIG> pending_{};
    std::atomic<signal_receiver*> next_{nullptr};
};

namespace {

// Dispositions belong to the process, and so does the list of who is to be told.
constinit std::atomic<signal_receiver*> receivers{nullptr};
constinit std::atomic<int> handlers_running{0};

constinit spin_lock guard; ///< for changes of the list, and for all that follows; never taken in a handler

struct disposition {
    unsigned sets = 0;
    struct sigaction before {};
};
std::array<disposition, NSIG> dispositions;

void handle(int signal) noexcept
{
    const int before = errno;
    handlers_running.fetch_add(1, std::memory_order_seq_cst);
    for (auto* each = receivers.load(std::memory_order_seq_cst); each; each = each->following())
        each->receive(signal);
    handlers_running.fetch_sub(1, std::memory_order_release);
    errno = before;
}

bool is_fault(int signal) noexcept
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL;
}

/// 0 or an errno value.
int watch(int signal) noexcept
{
    auto& entry = dispositions[static_cast<std::size_t>(signal)];
    const std::lock_guard held{guard};
    if (entry.sets == 0) {
        struct sigaction action {};
        action.sa_handler = handle;
        action.sa_flags = SA_RESTART | SA_ONSTACK; // a fiber's stack is small, and waits of other threads go on
        ::sigfillset(&action.sa_mask);
        if (::sigaction(signal, &action, &entry.before) != 0)
            return errno;
    }
    ++entry.sets;
    return 0;
}

void unwatch(int signal) noexcept
{
    auto& entry = dispositions[static_cast<std::size_t>(signal)];
    const std::lock_guard held{guard};
    if (--entry.sets > 0)
        return;
    struct sigaction now {};
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == handle)
        ::sigaction(signal, &entry.before, nullptr);
}

void watch_forks() noexcept
{
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] {
        std::construct_at(&guard);
        handlers_running.store(0, std::memory_order_relaxed);
        for (auto* each = receivers.load(std::memory_order_relaxed); each; each = each->following())
            each->start_over_in_child();
    });
    static_cast<void>(registered);
}

[[noreturn]] void throw_refused(int error, int signal)
{
    throw std::system_error{error, std::generic_category(), "coir::net::signal_set: " + signal_name(signal)};
}

std::array<bool, NSIG> choice_of(std::initializer_list<int> signals)
{
    std::array<bool, NSIG> result{};
    for (const int signal : signals) {
        if (signal < 1 || signal >= NSIG || is_fault(signal))
            throw_refused(EINVAL, signal);
        result[static_cast<std::size_t>(signal)] = true;
    }
    return result;
}

int make_event_descriptor() noexcept
{
    return ::eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
}

} // namespace

signal_receiver::signal_receiver(std::initializer_list<int> signals)
    : wanted_{choice_of(signals)}, descriptor_{make_event_descriptor()}
{
    if (!descriptor_)
        throw std::system_error{errno, std::generic_category(), "coir::net::signal_set"};
    watch_forks();
    enlist(); // before the first of its signals can come
    for (int signal = 1; signal < NSIG; ++signal) {
        const int error = is_wanted(signal) ? watch(signal) : 0;
        if (error == 0)
            continue;
        unwatch_before(signal);
        leave();
        throw_refused(error, signal);
    }
}

signal_receiver::~signal_receiver()
{
    unwatch_before(NSIG);
    leave();
}

void signal_receiver::unwatch_before(int end) noexcept
{
    for (int signal = 1; signal < end; ++signal)
        if (is_wanted(signal))
            unwatch(signal);
}

void signal_receiver::enlist() noexcept
{
    const std::lock_guard held{guard};
    next_.store(receivers.load(std::memory_order_relaxed), std::memory_order_relaxed);
    receivers.store(this, std::memory_order_seq_cst);
}

void signal_receiver::leave() noexcept
{
    {
        const std::lock_guard held{guard};
        auto* place = &receivers;
        while (place->load(std::memory_order_relaxed) != this)
            place = &place->load(std::memory_order_relaxed)->next_;
        place->store(following(), std::memory_order_seq_cst);
    }
    while (handlers_running.load(std::memory_order_seq_cst) != 0) // one may still be looking at this object
        ::syscall(SYS_sched_yield);                               // not sched_yield, which may suspend
}

void signal_receiver::receive(int signal) noexcept
{
    if (!is_wanted(signal))
        return;
    pending_[static_cast<std::size_t>(signal)].fetch_add(1, std::memory_order_release);
    const std::uint64_t one = 1;
    ::syscall(SYS_write, descriptor(), &one, sizeof one); // not write, which may suspend the fiber that was interrupted
}

std::optional<int> signal_receiver::take() noexcept
{
    // Who takes one from the count finds a signal; except that a child, between fork and our handler for it, may have
    // told us of one of its own.
    std::uint64_t one = 0;
    while (::syscall(SYS_read, descriptor(), &one, sizeof one) == sizeof one)
        for (int signal = 1; signal < NSIG; ++signal) {
            auto& count = pending_[static_cast<std::size_t>(signal)];
            auto seen = count.load(std::memory_order_acquire);
            while (seen > 0)
                if (count.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel))
                    return signal;
        }
    return std::nullopt;
}

void signal_receiver::start_over_in_child() noexcept
{
    for (auto& count : pending_)
        count.store(0, std::memory_order_relaxed); // signals that are pending are not inherited (fork(2))
    const int own = make_event_descriptor();
    if (own < 0)
        return;
    ::dup3(own, descriptor(), O_CLOEXEC);
    ::close(own);
}

// ---------------------------------------------------------------------------------------------------------------------

signal_set::signal_set(std::initializer_list<int> signals) : receiver_{std::make_unique<signal_receiver>(signals)} {}
signal_set::signal_set(signal_set&& other) noexcept = default;
signal_set& signal_set::operator=(signal_set&& other) noexcept = default;
signal_set::~signal_set() = default;

int signal_set::wait()
{
    for (;;) {
        if (const auto signal = receiver_->take())
            return *signal;
        wait_readable(receiver_->descriptor());
    }
}

std::optional<int> signal_set::try_wait()
{
    return receiver_->take();
}

int signal_set::native_handle() const noexcept
{
    return receiver_->descriptor();
}

stop_on_signal::stop_on_signal(std::initializer_list<int> signals)
    : watcher_{{.name = "stop_on_signal"}, [this, set = std::optional<signal_set>{signals}]() mutable {
                   signal_ = set->wait();
                   set.reset(); // the next one is the program's
                   stop_.request_stop();
               }}
{
}

stop_on_signal::~stop_on_signal()
{
    watcher_.cancel();
}

} // namespace coir::net
