// SPDX-License-Identifier: BSL-1.0
#pragma once
// The same code, once on a plain thread and once in a fiber: what it sees of libc must be the same.
//
//     TEST_CASE("an empty read is answered at once") {
//         CHECK(native_diff([](stage& on) {
//                   const auto [ours, theirs] = tcp_pair(on);
//                   on.record("read", [&] { return ::read(ours, nullptr, 0); });
//               }) == "read 0\n");
//     }
//
// What the body records on its stage becomes a transcript; native_diff compares the two and returns the native one.
// Others who take part - a peer, a second reader - are companions: threads in the first run, fibers of the same thread
// in the second. So a call that blocks the thread instead of its fiber hangs the test, which the watchdog reports.
#include "sanitized.hpp"

#include <coir/fiber.hpp>

#include <atomic>
#include <cerrno>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <thread>
#include <variant>
#include <vector>

/// A thread or a fiber, as far as one can ask whether it waits.
struct actor {
    std::atomic<pid_t> thread{0};
    coir::fiber_id fiber{};
};

/// Whoever takes part beside the body. Joined at the end of its scope.
class companion {
public:
    companion(bool as_fiber, std::function<void()> work);
    companion(companion&&) = default;
    companion& operator=(companion&&) = delete;
    ~companion();

    /// Rethrows what the work ended with.
    void join();
    const actor& who() const noexcept { return state_->self; }
    /// Of a fiber only.
    void cancel() noexcept;

private:
    struct state {
        actor self;
        std::exception_ptr failure;
    };
    void wait_for_end() noexcept;

    std::unique_ptr<state> state_;
    std::variant<std::monostate, std::thread, coir::fiber> runs_;
};

class stage {
public:
    explicit stage(bool in_fiber);
    stage(const stage&) = delete;
    stage& operator=(const stage&) = delete;
    ~stage();

    bool in_fiber() const noexcept { return in_fiber_; }
    pid_t thread() const noexcept { return self_.thread; }

    /// A line of the transcript.
    template <class... Values> void note(const Values&... values)
    {
        std::ostringstream line;
        const char* space = "";
        ((line << space << values, space = " "), ...);
        add_line(line.str());
    }
    /// Calls it, and notes what it returned: a number, or -1 and the name of errno. A call that succeeds has to leave
    /// errno alone, and that is noted too if it does not.
    template <class Call> auto record(std::string_view label, Call&& call)
    {
        errno = untouched;
        const auto result = std::invoke(std::forward<Call>(call));
        const int error = errno;
        note(label, outcome(static_cast<long>(result), error));
        errno = error;
        return result;
    }
    /// The same where the number means nothing, such as a new descriptor: notes "ok".
    template <class Call> auto record_ok(std::string_view label, Call&& call)
    {
        errno = untouched;
        const auto result = std::invoke(std::forward<Call>(call));
        const int error = errno;
        note(label, result == -1 ? outcome(-1, error) : "ok");
        errno = error;
        return result;
    }
    /// Calls a function that returns its errno value, as those of pthreads do.
    template <class Call> int record_error(std::string_view label, Call&& call)
    {
        const int result = std::invoke(std::forward<Call>(call));
        note(label, error_name(result));
        return result;
    }

    /// Closed at the end, unless the body has closed it by `close`. Throws std::system_error if it is -1.
    int own(int descriptor);
    void close(int descriptor);
    void disown(int descriptor);

    companion start(std::function<void()> work) { return companion{in_fiber_, std::move(work)}; }

    /// Until the body, or the companion, is suspended in some call.
    void until_waiting() const { until_waiting(self_); }
    void until_waiting(const actor& who) const;
    /// Until another says so.
    void until(const std::atomic<bool>& said) const;

    std::string transcript() const;
    /// What has become of the flags of the descriptors that are still open: compared, but not part of the transcript.
    std::string flags() const;

    static std::string outcome(long result, int error);
    static std::string error_name(int error);

private:
    static constexpr int untouched = 4711;
    struct owned {
        int descriptor;
        int flags;
    };
    void add_line(std::string line);

    bool in_fiber_;
    actor self_;
    mutable std::mutex mutex_;
    std::vector<std::string> lines_;
    std::vector<owned> descriptors_;
};

/// Throws std::system_error with errno.
[[noreturn]] void preparation_failed();

/// Throws for a -1: for what only prepares a test.
template <std::integral T> T must(T result)
{
    if (result == T(-1))
        preparation_failed();
    return result;
}

/// A sanitizer looks at what a call is given before the kernel can refuse it.
using support::sanitized;

/// A value of which the compiler knows nothing: it would warn of what is wrong on purpose.
template <class T> T unknown(T value)
{
    volatile T hidden = value;
    return hidden;
}

/// Runs `body` on a plain thread and in a fiber of another, and checks that the transcripts are equal. Returns the
/// native one.
std::string native_diff(const std::function<void(stage&)>& body);

/// Runs `body` in a fiber only, for what coir promises beyond libc. Returns the transcript.
std::string in_fiber(const std::function<void(stage&)>& body);

/// How many threads this process has, without those that coir keeps for offloaded work.
std::size_t threads_of_process();
