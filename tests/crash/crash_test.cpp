// SPDX-License-Identifier: BSL-1.0
// Runs the programs beside this file, each of which must die, and says of what and with which words. They lie in the
// directory that COIR_CRASH_PROGRAMS names, by default the one of this binary.
#include <doctest/doctest.h>

#include "sanitized.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

struct ending {
    int status = 0;
    std::string words; ///< what it wrote to stderr
};

std::string directory()
{
    if (const char* set = std::getenv("COIR_CRASH_PROGRAMS"))
        return set;
    return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

ending run(const std::string& program, std::vector<std::string> environment = {})
{
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);

    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);

    std::vector<char*> variables;
    for (char** each = environ; *each; ++each)
        variables.push_back(*each);
    for (auto& each : environment)
        variables.push_back(each.data());
    variables.push_back(nullptr);

    std::string path = directory() + '/' + program;
    char* arguments[] = {path.data(), nullptr};
    pid_t child = 0;
    const int error = ::posix_spawn(&child, path.c_str(), &actions, nullptr, arguments, variables.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    REQUIRE_MESSAGE(error == 0, path);

    ending result;
    char buffer[4096];
    for (ssize_t size; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        result.words.append(buffer, static_cast<std::size_t>(size));
    ::close(ends[0]);
    ::waitpid(child, &result.status, 0);
    return result;
}

/// It must end by SIGABRT, and have said each of these.
void aborts_with(const std::string& program, std::initializer_list<std::string> words)
{
    const auto [status, said] = run(program);
    CAPTURE(program);
    CAPTURE(said);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
    for (const auto& part : words) {
        CAPTURE(part);
        CHECK(said.find(part) != std::string::npos);
    }
}

} // namespace

TEST_SUITE_BEGIN("crash");

TEST_CASE("a stack overflow hits the guard page and names the fiber") {
    const auto [status, words] = run("stack_overflow");
    CAPTURE(words);
    if (support::sanitized) {
        CHECK(WIFEXITED(status)); // the sanitizer has a handler of its own
        CHECK(WEXITSTATUS(status) != 0);
        CHECK((words.find("stack-overflow") != std::string::npos || words.find("SEGV") != std::string::npos));
    } else {
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGSEGV);
        CHECK(words.find("fiber 3 (deep): stack overflow; it has ") != std::string::npos);
        CHECK(words.find("stack_overflow") != std::string::npos); // the program, in the innermost frames
    }
}

TEST_CASE("a stack overflow in a coroutine says so, and names the fiber") {
    const auto [status, words] = run("coroutine_stack_overflow");
    CAPTURE(words);
    if (support::sanitized) {
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) != 0);
    } else {
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGSEGV);
        CHECK(words.find("(deep): stack overflow in a coroutine; it has 60 KiB") != std::string::npos);
    }
}

TEST_CASE("a coroutine is not destroyed while it runs, nor does it fail unheard") {
    aborts_with("coroutine_destroys_itself", {"coroutine: destroyed while it runs"});
    aborts_with("coroutine_fails_at_its_end", {"coroutine: it ended with an exception while it was destroyed"});
}

TEST_CASE("a wait inside of a no_suspend names the fiber") {
    aborts_with("wait_in_no_suspend", {"fiber 2 (hasty)", "waits inside a no_suspend"});
    aborts_with("yield_in_no_suspend", {"fiber 2 (hasty)", "yields inside a no_suspend"});
}

TEST_CASE("a mutex is not unlocked by who does not hold it") {
    aborts_with("mutex_unlocked_by_another", {"mutex", "unlocked by a fiber that does not hold it", "fiber 2"});
}

TEST_CASE("a locked mutex is not destroyed") {
    aborts_with("mutex_destroyed_locked", {"mutex", "destroyed while locked"});
}

TEST_CASE("a shared_mutex is not unlocked by who does not hold it, and not destroyed while it is held") {
    aborts_with("shared_mutex_unlocked_by_another", {"shared_mutex", "unlocked by a fiber that does not hold it"});
    aborts_with("shared_mutex_unlocked_by_nobody", {"shared_mutex", "nobody holds it shared"});
    aborts_with("shared_mutex_destroyed_locked", {"shared_mutex", "destroyed while locked"});
}

TEST_CASE("no more arrive at a latch or a barrier than it expects") {
    aborts_with("latch_too_many", {"latch", "counted down by more than what is left"});
    aborts_with("barrier_too_many", {"barrier", "more have arrived than it expects", "fiber 2"});
}

TEST_CASE("a detached fiber that fails says who it was, and of what it died") {
    aborts_with("detached_fiber_fails", {"fiber 2 (stray)", "detached", "nobody hears this"});
    aborts_with("detached_after_failure", {"fiber 2 (stray)", "detached after it had ended", "nobody hears this"});
    aborts_with("spawned_fiber_fails", {"fiber 1 (stray)", "detached", "the exception was: i"});
}

TEST_CASE("a failure is not destroyed with the fiber's handle") {
    aborts_with("failure_never_joined", {"fiber 2 (failing)", "destroyed without a join", "nobody asked"});
}

TEST_CASE("a failure is not destroyed with the group") {
    aborts_with("group_never_joined", {"fiber_group was destroyed without a join", "nobody asked"});
}

TEST_CASE("a deadlock of what cannot be cancelled ends the program with the report") {
    aborts_with("deadlock_for_good", {"every fiber waits", "(main): waits for join", "(stuck): waits for event"});
}

TEST_CASE("a test case that hangs is named, with what its fibers wait for") {
    const auto [status, words] = run("hang", {"COIR_TEST_TIMEOUT=0.3"});
    CAPTURE(words);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 3);
    for (const char* part :
         {"\"this one waits for ever\" hangs", "(main): waits for join", "(patient): waits for event"})
        CHECK(words.find(part) != std::string::npos);
}

TEST_CASE("a test case that leaves a descriptor open is named, and fails") {
    const auto [status, words] = run("untidy");
    CAPTURE(words);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 1);
    CHECK(words.find("\"this one leaves a descriptor open\" has left descriptor") != std::string::npos);
    CHECK(words.find("/dev/null") != std::string::npos);
}

TEST_SUITE_END();
