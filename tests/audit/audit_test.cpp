// SPDX-License-Identifier: BSL-1.0
// Runs escapes.cpp's program, each way, under COIR_AUDIT.
#include <sanitized.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <map>
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

    audit.insert(0, "COIR_AUDIT=");
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

/// Whether this build's calls can be trapped here.
bool can_trap()
{
#ifdef __x86_64__
    constexpr int set_syscall_user_dispatch = 59;
    return !support::sanitized && ::prctl(set_syscall_user_dispatch, 0, 0, 0, 0) == 0;
#else
    return false;
#endif
}

void tells(const std::string& way, const std::string& audit, std::initializer_list<std::string> words)
{
    const auto [status, said] = run(way, audit);
    CAPTURE(way);
    CAPTURE(audit);
    CAPTURE(said);
    CHECK(status == 0);
    for (const auto& part : words) {
        CAPTURE(part);
        CHECK(said.find(part) != std::string::npos);
    }
}

/// Both audits. The program goes on only when they have told: that it ends is half of the test.
void tells(const std::string& way, std::initializer_list<std::string> words)
{
    tells(way, "sample,2", words);
    tells(way, "exact,2", words);
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

TEST_CASE("the first line says how the audit works") {
    const std::string exact = can_trap() ? "coir: audit: exact: " : "coir: audit: sampling: ";
    for (const auto& [setting, words] : std::map<std::string, std::string>{
             {"1", exact + "waits of 10 ms or longer"},
             {"20", exact + "waits of 20 ms or longer"},
             {"exact", exact + "waits of 10 ms or longer"},
             {"exact,30", exact + "waits of 30 ms or longer"},
             {"exact,0", exact + "every wait"},
             {"sample", "coir: audit: sampling: waits of 10 ms or longer\n"},
             {"sample,2", "coir: audit: sampling: waits of 2 ms or longer\n"},
         }) {
        CAPTURE(setting);
        const auto [status, said] = run("nothing", setting);
        CHECK(said.starts_with(words));
        CHECK(status == 0);
    }
}

TEST_CASE("where calls cannot be trapped, the audit says why") {
    const auto first_line = run("nothing", "exact").said;
    CAPTURE(first_line);
    CHECK((first_line.find("(exact is not possible: ") != std::string::npos) != can_trap());
}

TEST_CASE("the exact audit counts waits that are far too short to be seen") {
    const auto said = run("naps", "exact,0").said;
    CAPTURE(said);
    const bool counted = said.find("coir: audit:   50 times, ") != std::string::npos &&
                         said.find(": nanosleep in naps_by_instruction (audit-escapes)") != std::string::npos;
    if (can_trap())
        CHECK(counted);
    else // sampling sees some of them, or all on a machine that is slow enough
        CHECK(said.starts_with("coir: audit: sampling: every wait (exact is not possible: "));
    CHECK(run("naps", "sample,1000000").said.ends_with("nothing has blocked a hub for 1000000 ms or longer\n"));
}

TEST_CASE("signals, masks, children and stacks are the program's own under the audit too") {
    for (const std::string audit : {"", "sample", "exact", "exact,0"}) {
        const auto [status, said] = run("meddling", audit);
        CAPTURE(audit);
        CAPTURE(said);
        CHECK(status == 0);
    }
}

TEST_CASE("a hub that waits for its fibers' sakes is none of the audit's business") {
    for (const std::string how : {"sample", "exact"}) {
        const auto [status, said] = run("nothing", how + ",20");
        CAPTURE(said);
        CHECK(status == 0);
        CHECK(said.ends_with("\ncoir: audit: nothing has blocked a hub for 20 ms or longer\n"));
        CHECK(said.find("has blocked") == said.rfind("has blocked"));
    }
}

TEST_CASE("what is no setting means no audit") {
    CHECK(run("nothing", "").said.empty());
    CHECK(run("nothing", "0").said.empty());
    for (const std::string wrong : {"yes", "sample,0", "exact,", "exact,x", "-1", "2,exact", "1000001"}) {
        CAPTURE(wrong);
        CHECK(run("nothing", wrong).said == "coir: COIR_AUDIT=" + wrong +
                                                " is not 1, a number of milliseconds, exact, sample, or exact,MS or "
                                                "sample,MS: no audit\n");
    }
}

TEST_SUITE_END();
