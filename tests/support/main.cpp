// SPDX-License-Identifier: BSL-1.0
// main() of every test binary, and what watches over its test cases: a watchdog that turns a hang into a failure with
// the fibers listed, and a look at what each test case leaves behind.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "sanitized.hpp"
#include "seed.hpp"

#include <coir/inspect.hpp>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

namespace {

using std::chrono::steady_clock;

/// How long one test case may take. COIR_TEST_TIMEOUT in the environment, in seconds, overrides it.
std::chrono::duration<double> limit()
{
    if (const char* text = std::getenv("COIR_TEST_TIMEOUT"))
        if (const double seconds = std::strtod(text, nullptr); seconds > 0)
            return std::chrono::duration<double>{seconds};
    return std::chrono::seconds{support::sanitized || RUNNING_ON_VALGRIND ? 240 : 60};
}

/// Calls `visit(number)` for the entries of a directory of /proc whose names are numbers.
template <class Visit> void for_each_number(const char* path, Visit visit)
{
    DIR* directory = ::opendir(path);
    if (!directory)
        return;
    while (const dirent* entry = ::readdir(directory)) {
        int number = 0;
        const char* end = entry->d_name + std::strlen(entry->d_name);
        if (std::from_chars(entry->d_name, end, number).ptr == end && number != ::dirfd(directory))
            visit(number);
    }
    ::closedir(directory);
}

std::string thread_name(int id)
{
    std::string name;
    std::getline(std::ifstream{"/proc/self/task/" + std::to_string(id) + "/comm"}, name);
    return name;
}

/// Until the process ends: a helper, and the audit if COIR_AUDIT has one.
bool stays(const std::string& thread)
{
    return thread == "coir-offload" || thread == "coir-audit";
}

// ---- the watchdog ---------------------------------------------------------------------------------------------------

// A thread's fibers can be listed only by that thread. So the watchdog sends every thread a signal, one after the
// other, and its handler prints them.
std::atomic<int> answers{0};

int dump_signal()
{
    return SIGRTMAX - 3;
}

void dump_fibers(int)
{
    const auto text =
        coir::describe_fibers(); // not async-signal-safe; the watchdog ends the process if this gets stuck
    // As a plain thread: under the patch library a fiber's write may suspend.
    auto* const fiber = std::exchange(coir::current_fiber, nullptr);
    if (!text.empty())
        std::fprintf(stderr, "the fibers of thread %ld:\n%s", ::syscall(SYS_gettid), text.c_str());
    coir::current_fiber = fiber;
    answers.fetch_add(1);
}

class watchdog {
public:
    watchdog()
    {
        struct sigaction action = {};
        action.sa_handler = dump_fibers;
        action.sa_flags = SA_ONSTACK | SA_RESTART; // doctest gives the main thread such a stack
        ::sigaction(dump_signal(), &action, nullptr);
        thread_ = std::thread{[this] { watch(); }};
    }
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;
    ~watchdog()
    {
        {
            const std::lock_guard held{mutex_};
            done_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

    void begin(const char* test_case)
    {
        const std::lock_guard held{mutex_};
        test_case_ = test_case;
        since_ = steady_clock::now();
    }
    void end()
    {
        const std::lock_guard held{mutex_};
        test_case_ = nullptr;
    }

private:
    void watch()
    {
        ::pthread_setname_np(::pthread_self(), "watchdog");
        sigset_t mine;
        sigfillset(&mine);
        ::pthread_sigmask(SIG_BLOCK, &mine, nullptr);

        std::unique_lock held{mutex_};
        while (!done_) {
            changed_.wait_for(held, limit_ / 10);
            if (test_case_ && steady_clock::now() - since_ > limit_)
                give_up();
        }
    }

    [[noreturn]] void give_up()
    {
        std::fprintf(stderr, "\nthe test case \"%s\" hangs: it has not ended within %g seconds\n", test_case_,
                     limit_.count());
        if (support::seed_in_use)
            std::fprintf(stderr, "COIR_TEST_SEED=%llu\n", static_cast<unsigned long long>(*support::seed_in_use));
        const long self = ::syscall(SYS_gettid);
        for_each_number("/proc/self/task", [&](int id) {
            if (id == self || stays(thread_name(id)))
                return;
            const int before = answers.load();
            ::syscall(SYS_tgkill, ::getpid(), id, dump_signal());
            for (int tries = 0; tries < 1000 && answers.load() == before; ++tries)
                std::this_thread::sleep_for(std::chrono::milliseconds{1});
        });
        std::fflush(stdout);
        ::_exit(3);
    }

    const std::chrono::duration<double> limit_ = limit();
    std::mutex mutex_;
    std::condition_variable changed_;
    const char* test_case_ = nullptr;
    steady_clock::time_point since_;
    bool done_ = false;
    std::thread thread_;
};

// ---- nothing is left over -------------------------------------------------------------------------------------------

std::set<int> open_descriptors()
{
    std::set<int> result;
    for_each_number("/proc/self/fd", [&](int descriptor) { result.insert(descriptor); });
    return result;
}

/// Threads, without the helpers of `offload`: those stay until the process ends.
std::set<int> running_threads()
{
    std::set<int> result;
    for_each_number("/proc/self/task", [&](int id) {
        if (!stays(thread_name(id)))
            result.insert(id);
    });
    return result;
}

std::string target_of(int descriptor)
{
    char target[256];
    const auto length = ::readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), target, sizeof target);
    return {target, length > 0 ? static_cast<std::size_t>(length) : 0};
}

std::set<int> added(const std::set<int>& before, const std::set<int>& after)
{
    std::set<int> result;
    for (int number : after)
        if (!before.contains(number))
            result.insert(number);
    return result;
}

class leftovers {
public:
    void begin()
    {
        descriptors_ = open_descriptors();
        threads_ = running_threads();
    }

    /// How many things there are that `begin` did not see.
    int end(const char* test_case) const
    {
        const auto descriptors = added(descriptors_, open_descriptors());
        for (int descriptor : descriptors)
            std::fprintf(stderr, "the test case \"%s\" has left descriptor %d open: %s\n", test_case, descriptor,
                         target_of(descriptor).c_str());
        // A thread that has been joined may still be on its way out of the kernel's list.
        auto threads = added(threads_, running_threads());
        for (int tries = 0; tries < 1000 && !threads.empty(); ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
            threads = added(threads_, running_threads());
        }
        for (int id : threads)
            std::fprintf(stderr, "the test case \"%s\" has left a thread running: %s\n", test_case,
                         thread_name(id).c_str());
        return static_cast<int>(descriptors.size() + threads.size());
    }

private:
    std::set<int> descriptors_;
    std::set<int> threads_;
};

/// Test cases that left something over. doctest has counted them as passed by then; so main() returns a failure.
int untidy = 0;

struct observer : doctest::IReporter {
    explicit observer(const doctest::ContextOptions&) {}

    void test_run_start() override { dog_.emplace(); }
    void test_run_end(const doctest::TestRunStats&) override { dog_.reset(); }
    void test_case_start(const doctest::TestCaseData& test) override
    {
        name_ = test.m_name;
        left_.begin();
        dog_->begin(name_);
    }
    void test_case_end(const doctest::CurrentTestCaseStats&) override
    {
        dog_->end();
        support::seed_in_use.reset();
        untidy += left_.end(name_) > 0;
    }
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void report_query(const doctest::QueryData&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}

    std::optional<watchdog> dog_;
    leftovers left_;
    const char* name_ = nullptr;
};

REGISTER_LISTENER("observer", 1, observer);

} // namespace

int main(int argc, char** argv)
{
    const int result = doctest::Context{argc, argv}.run();
    if (untidy > 0)
        std::fprintf(stderr, "%d test cases have left something over\n", untidy);
    return result != 0 ? result : untidy > 0;
}
