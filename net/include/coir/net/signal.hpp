// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber.hpp>

#include <atomic>
#include <csignal>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stop_token>

namespace coir::net {

class signal_receiver;

/// Signals to wait for in a fiber. They do nothing else while the set lives: Ctrl-C does not end the program.
///
///     coir::net::signal_set endings{SIGINT, SIGTERM};
///     std::printf("ended by %s\n", strsignal(endings.wait()));
///
/// Each set is told of every signal of its own that reaches the process, whichever thread the kernel chooses for it,
/// and keeps it until it is taken. The last set for a signal puts back what was there before, unless somebody else has
/// put in something of his own meanwhile. No thread's signal mask changes, and children start with the defaults. In a
/// forked child the set goes on to work, for the signals of the child. Distinct objects: safe. Shared: `wait` and
/// `try_wait` from any fiber and any thread.
class signal_set {
public:
    /// Throws std::system_error: EINVAL for SIGKILL, SIGSTOP and the signals of libc (sigaction(2)), and for SIGSEGV,
    /// SIGBUS, SIGFPE and SIGILL, whose cause would still be there when the handler returns; EMFILE.
    signal_set(std::initializer_list<int> signals);
    signal_set(signal_set&& other) noexcept;
    signal_set& operator=(signal_set&& other) noexcept;
    /// Nobody may be waiting.
    ~signal_set();

    /// Suspends until one of the signals has come, and takes it; a plain thread blocks. A signal that came twice is
    /// given twice if the kernel delivered it twice (signal(7): it merges those that are pending). Several that wait
    /// are given one each. Throws `cancelled`, `timed_out`, and std::system_error (EPERM) in virtual time.
    int wait();
    /// Never suspends.
    std::optional<int> try_wait();

    /// Readable while there is a signal to take, for poll(2) and `wait_any_ready`. Do not read it.
    int native_handle() const noexcept;

private:
    std::unique_ptr<signal_receiver> receiver_;
};

/// Turns the first of some signals into a stop, for programs that end in order.
///
///     coir::net::stop_on_signal ending; // SIGINT or SIGTERM
///     coir::cancel_scope serving{ending.get_token()};
///     serving.run([&] { serve(listener); });
///
/// From the first signal on the dispositions from before are back: a second Ctrl-C ends a program that does not come to
/// an end. It has a fiber on the hub of who made it, and stop callbacks run there.
class stop_on_signal {
public:
    /// Throws as signal_set's constructor does, and std::logic_error outside of a fiber.
    explicit stop_on_signal(std::initializer_list<int> signals = {SIGINT, SIGTERM});
    stop_on_signal(const stop_on_signal&) = delete;
    stop_on_signal& operator=(const stop_on_signal&) = delete;
    /// Suspends until its fiber has ended. Requests no stop.
    ~stop_on_signal();

    std::stop_token get_token() const noexcept { return stop_.get_token(); }
    /// To stop for another reason too.
    std::stop_source& source() noexcept { return stop_; }
    /// The signal that came; 0 if none has. Any thread. Never suspends.
    int signal() const noexcept { return signal_; }

private:
    std::stop_source stop_;
    std::atomic<int> signal_{0};
    fiber watcher_; ///< the last member: it uses the others
};

} // namespace coir::net
