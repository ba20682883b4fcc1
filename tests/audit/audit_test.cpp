// SPDX-License-Identifier: BSL-1.0
// Runs escapes.cpp's program, each way, under COIR_AUDIT.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

namespace {

struct ending {
    int status = 0;
    std::string said; ///< to stderr
};

ending run(std::string way, std::string audit)
{
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);

    audit = "COIR_AUDIT=" + audit;
    // ThreadSanitizer has doubts about threads in forked children.
    const char* options = std::getenv("TSAN_OPTIONS");
    std::string tsan_options = "TSAN_OPTIONS=" + std::string{options ? options : ""} + " die_after_fork=0";
    std::vector<char*> variables{audit.data(), tsan_options.data()};
    for (char** each = environ; *each; ++each)
        variables.push_back(*each);
    variables.push_back(nullptr);

    std::string path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "audit-escapes";
    char* arguments[] = {path.data(), way.data(), nullptr};
    pid_t child = 0;
    const int error = ::posix_spawn(&child, path.c_str(), &actions, nullptr, arguments, variables.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    REQUIRE_MESSAGE(error == 0, path);

    ending result;
    char buffer[4096];
    for (ssize_t size; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        result.said.append(buffer, static_cast<std::size_t>(size));
    ::close(ends[0]);
    ::waitpid(child, &result.status, 0);
    return result;
}

/// The program goes on only when the audit has told: that it ends is half of the test.
void tells(const std::string& way, std::initializer_list<std::string> words)
{
    const auto [status, said] = run(way, "2");
    CAPTURE(way);
    CAPTURE(said);
    CHECK(status == 0);
    for (const auto& part : words) {
        CAPTURE(part);
        CHECK(said.find(part) != std::string::npos);
    }
}

} // namespace

TEST_SUITE_BEGIN("audit");

TEST_CASE("a read by a bare system call is told, with fiber, hub, descriptor and place") {
    tells("read", {"coir: audit: fiber 2 (culprit) has blocked hub 0 for ", " ms and still does: read of descriptor ",
                   " (pipe:[", " in blocks_in_raw_read (audit-escapes)",
                   "coir: audit: hubs were blocked for 2 ms or longer 1 times, ", "1 times, "});
}

TEST_CASE("a poll by a bare system call is told, with the descriptors it waits for") {
    tells("poll", {"(culprit)", "poll of descriptor ", " (pipe:[", " in blocks_in_raw_poll (audit-escapes)"});
}

TEST_CASE("a sleep by a bare system call is told") {
    tells("nanosleep", {"(culprit)", ": nanosleep in "});
}

TEST_CASE("what stdio does inside of libc is told, with who has called it") {
    tells("stdio", {"(culprit)", "read of descriptor ", " in fread (libc.so.6), called from ",
                    "blocks_in_stdio (audit-escapes)"});
}

TEST_CASE("a child that a fiber has forked is audited too") {
    tells("fork", {"(in the child) has blocked hub 0", "blocks_in_raw_read"});
}

TEST_CASE("a hub that waits for its fibers' sakes is none of the audit's business") {
    const auto [status, said] = run("nothing", "20");
    CAPTURE(said);
    CHECK(status == 0);
    CHECK(said == "coir: audit: nothing has blocked a hub for 20 ms\n");
}

TEST_CASE("without a number of milliseconds there is no audit") {
    CHECK(run("nothing", "").said.empty());
    CHECK(run("nothing", "0").said.empty());
    CHECK(run("nothing", "yes").said == "coir: COIR_AUDIT=yes is no number of milliseconds: no audit\n");
}

TEST_SUITE_END();
