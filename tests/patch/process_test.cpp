// SPDX-License-Identifier: BSL-1.0
// Children: waiting for them in every way, commands, pipes to them, and fork and vfork from a fiber.
#include "descriptors.hpp"

#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

/// Runs the command with `input` for its standard input.
pid_t spawn(const char* command, int input = 0, short flags = 0)
{
    posix_spawnattr_t attributes;
    must(-::posix_spawnattr_init(&attributes));
    must(-::posix_spawnattr_setflags(&attributes, flags));
    const char* arguments[]{"sh", "-c", command, nullptr};
    pid_t child = 0;
    posix_spawn_file_actions_t actions;
    must(-::posix_spawn_file_actions_init(&actions));
    must(-::posix_spawn_file_actions_adddup2(&actions, input, 0));
    must(-::posix_spawnp(&child, "sh", &actions, &attributes, const_cast<char* const*>(arguments), environ));
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    return child;
}

std::string describe(int status)
{
    if (WIFEXITED(status))
        return "ended with " + std::to_string(WEXITSTATUS(status));
    if (WIFSIGNALED(status))
        return "killed by " + std::to_string(WTERMSIG(status));
    if (WIFSTOPPED(status))
        return "stopped by " + std::to_string(WSTOPSIG(status));
    return WIFCONTINUED(status) ? "continued" : "?";
}

/// Waits for what reads a pipe and ends: `let_go` lets it.
class patient_child {
public:
    explicit patient_child(const std::string& then, short flags = 0)
    {
        int ends[2];
        must(::pipe2(ends, O_CLOEXEC));
        tell_ = ends[1];
        pid_ = spawn(("read line; " + then).c_str(), ends[0], flags);
        ::close(ends[0]);
    }
    patient_child(const patient_child&) = delete;
    patient_child& operator=(const patient_child&) = delete;
    ~patient_child() { let_go(); }
    void let_go()
    {
        if (tell_ >= 0)
            ::close(std::exchange(tell_, -1));
    }
    pid_t pid() const { return pid_; }

private:
    int tell_;
    pid_t pid_;
};

/// Notes which child `wait` reports, and what of it.
void report(stage& on, pid_t expected, const std::function<pid_t(int*)>& wait)
{
    int status = 0;
    const pid_t child = wait(&status);
    on.note(child == expected, describe(status));
}

companion when_waiting(stage& on, std::function<void()> work)
{
    return on.start([&on, todo = std::move(work)] {
        on.until_waiting();
        todo();
    });
}

} // namespace

TEST_CASE("waitpid waits for a child, whose end it reports once") {
    CHECK(native_diff([](stage& on) {
              int status = 0;
              {
                  patient_child child{"exit 7"};
                  on.record("not yet", [&] { return ::waitpid(child.pid(), &status, WNOHANG); });
                  auto letting_go = when_waiting(on, [&] { child.let_go(); });
                  report(on, child.pid(), [&](int* status) { return ::waitpid(child.pid(), status, 0); });
                  letting_go.join();
                  on.record("again", [&] { return ::waitpid(child.pid(), &status, 0); });
              }
              const pid_t killed = spawn("kill -9 $$");
              on.note(::waitpid(killed, nullptr, 0) == killed);
              on.record("no child", [&] { return ::waitpid(::getppid(), &status, 0); });
              on.record("nobody", [&] { return ::waitpid(-1, &status, 0); });
              on.record("no such group", [&] { return ::waitpid(-4'000'000, &status, 0); });
              on.record("bad options", [&] { return ::waitpid(-1, &status, 0x4000); });
          }) == "not yet 0\n1 ended with 7\nagain -1 ECHILD\n1\nno child -1 ECHILD\nnobody -1 ECHILD\nno such group -1 "
                "ECHILD\nbad options -1 EINVAL\n");
}

TEST_CASE("wait, wait3 and wait4 take whichever child ends first") {
    CHECK(native_diff([](stage& on) {
              patient_child slow{"exit 1"};
              patient_child quick{"exit 2"};
              auto letting_go = when_waiting(on, [&] { quick.let_go(); });
              int status = 0;
              report(on, quick.pid(), [](int* status) { return ::wait(status); });
              letting_go.join();
              auto again = when_waiting(on, [&] { slow.let_go(); });
              rusage usage{};
              usage.ru_maxrss = -1;
              report(on, slow.pid(), [&](int* status) { return ::wait3(status, 0, &usage); });
              on.note(usage.ru_maxrss > 0);
              again.join();
              const pid_t last = spawn("exit 3");
              report(on, last, [&](int* status) { return ::wait4(-1, status, 0, &usage); });
              on.record("wait", [&] { return ::wait(&status); });
          }) == "1 ended with 2\n1 ended with 1\n1\n1 ended with 3\nwait -1 ECHILD\n");
}

TEST_CASE("several wait for any child at once, and each child is reported once") {
    constexpr int count = 6;
    CHECK(native_diff([](stage& on) {
              std::vector<std::unique_ptr<patient_child>> children;
              for (int i = 0; i < count; ++i)
                  children.push_back(std::make_unique<patient_child>("exit " + std::to_string(i)));
              std::mutex mutex;
              std::vector<pid_t> reported;
              std::vector<companion> waiting;
              for (int i = 0; i < count; ++i)
                  waiting.push_back(on.start([&] {
                      const pid_t pid = ::wait(nullptr);
                      const std::lock_guard held{mutex};
                      reported.push_back(pid);
                  }));
              for (auto& each : waiting)
                  on.until_waiting(each.who());
              for (auto& child : children)
                  child->let_go();
              for (auto& each : waiting)
                  each.join();
              std::vector<pid_t> expected;
              for (auto& child : children)
                  expected.push_back(child->pid());
              std::ranges::sort(reported);
              std::ranges::sort(expected);
              on.note(reported == expected);
              on.record("nobody is left", [] { return ::wait(nullptr); });
          }) == "1\nnobody is left -1 ECHILD\n");
}

TEST_CASE("children of a group, that stop, and that go on") {
    CHECK(native_diff([](stage& on) {
              patient_child other{"exit 1"};
              patient_child leader{"exit 2", POSIX_SPAWN_SETPGROUP};
              int status = 0;
              auto stopping = when_waiting(on, [&] { ::kill(leader.pid(), SIGSTOP); });
              report(on, leader.pid(), [&](int* status) { return ::waitpid(-leader.pid(), status, WUNTRACED); });
              stopping.join();
              auto going_on = when_waiting(on, [&] { ::kill(leader.pid(), SIGCONT); });
              report(on, leader.pid(), [&](int* status) { return ::waitpid(leader.pid(), status, WCONTINUED); });
              going_on.join();
              auto letting_go = when_waiting(on, [&] { leader.let_go(); });
              report(on, leader.pid(), [&](int* status) { return ::waitpid(-leader.pid(), status, 0); });
              letting_go.join();
              on.record("group", [&] { return ::waitpid(-leader.pid(), &status, 0); });
              other.let_go();
              report(on, other.pid(), [&](int* status) { return ::waitpid(0, status, 0); });
          }) == "1 stopped by 19\n1 continued\n1 ended with 2\ngroup -1 ECHILD\n1 ended with 1\n");
}

TEST_CASE("waitid reports without taking, by pid, by pidfd, and of all") {
    CHECK(native_diff([](stage& on) {
              siginfo_t info{};
              {
                  patient_child child{"exit 5"};
                  on.record("not yet", [&] { return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG); });
                  on.note(info.si_pid);
                  auto letting_go = when_waiting(on, [&] { child.let_go(); });
                  on.record("wait",
                            [&] { return ::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT); });
                  on.note(info.si_pid == child.pid(), info.si_signo == SIGCHLD, info.si_code == CLD_EXITED,
                          info.si_status);
                  on.record("all", [&] { return ::waitid(P_ALL, 0, nullptr, WEXITED); });
              }
              patient_child child{"exit 6"};
              const int pidfd = on.own(static_cast<int>(::syscall(SYS_pidfd_open, child.pid(), 0)));
              auto letting_go = when_waiting(on, [&] { child.let_go(); });
              on.record("pidfd", [&] { return ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED); });
              on.note(info.si_pid == child.pid(), info.si_status);
              letting_go.join();
              on.record("gone", [&] { return ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED); });
              on.record("for nothing", [&] { return ::waitid(P_ALL, 0, &info, 0); });
          }) == "not yet 0\n0\nwait 0\n1 1 1 5\nall 0\npidfd 0\n1 6\ngone -1 ECHILD\nfor nothing -1 EINVAL\n");
}

TEST_CASE("with SIGCHLD ignored, a wait lasts until no child is left") {
    struct sigaction before;
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    must(::sigaction(SIGCHLD, &ignore, &before));
    CHECK(native_diff([](stage& on) {
              patient_child one{"exit 1"};
              auto letting_go = when_waiting(on, [&] { one.let_go(); });
              on.record("pid", [&] { return ::waitpid(one.pid(), nullptr, 0); });
              letting_go.join();
              patient_child two{"exit 2"};
              auto again = when_waiting(on, [&] { two.let_go(); });
              on.record("any", [&] { return ::wait(nullptr); });
          }) == "pid -1 ECHILD\nany -1 ECHILD\n");
    must(::sigaction(SIGCHLD, &before, nullptr));
}

TEST_CASE("a wait that was cut off leaves the child to the next one") {
    CHECK(in_fiber([](stage& on) {
              patient_child child{"exit 4"};
              for (const pid_t which : {child.pid(), pid_t{-1}, pid_t{0}}) {
                  const coir::timeout limit{std::chrono::milliseconds{5}};
                  on.record("wait", [&] { return ::waitpid(which, nullptr, 0); });
              }
              auto cancelled = on.start([&] { on.record("wait", [] { return ::wait(nullptr); }); });
              on.until_waiting(cancelled.who());
              cancelled.cancel();
              cancelled.join();
              auto letting_go = when_waiting(on, [&] { child.let_go(); });
              report(on, child.pid(), [](int* status) { return ::wait(status); });
          }) == "wait -1 ETIMEDOUT\nwait -1 ETIMEDOUT\nwait -1 ETIMEDOUT\nwait -1 ECANCELED\n1 ended with 4\n");
}

TEST_CASE("system runs a command while others run, and reports how it ended") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              const int inherited = on.own(must(::dup(reader)));
              auto telling = when_waiting(on, [&, to = writer] { must(::write(to, "go\n", 3)); });
              const auto command =
                  "read line </proc/$$/fd/" + std::to_string(inherited) + "; test $line = go && exit 3";
              on.note(describe(::system(command.c_str())));
              telling.join();
              on.note(describe(::system("kill -TERM $$")));
              on.note(describe(::system("no-such-command-here 2>/dev/null")));
              on.note(::system(nullptr) != 0);
              struct sigaction now;
              ::sigaction(SIGINT, nullptr, &now);
              on.note(now.sa_handler == SIG_IGN);
              on.note(describe(::system("kill -INT $$"))); // which the shell does not ignore
          }) == "ended with 3\nkilled by 15\nended with 127\n1\n0\nkilled by 2\n");
}

TEST_CASE("a command that is cut off is killed and reaped") {
    CHECK(in_fiber([](stage& on) {
              {
                  const coir::timeout limit{std::chrono::milliseconds{20}};
                  on.record("system", [] { return ::system("exec sleep 1000"); });
              }
              on.record("nobody is left", [] { return ::waitpid(-1, nullptr, 0); });
          }) == "system -1 ETIMEDOUT\nnobody is left -1 ECHILD\n");
}

TEST_CASE("popen and pclose") {
    CHECK(native_diff([](stage& on) {
              FILE* output = ::popen("echo one; exit 3", "re");
              char line[16];
              on.note(std::string{std::fgets(line, sizeof line, output)});
              on.note(describe(::pclose(output)));
              patient_child meanwhile{"exit 1"};
              FILE* input = ::popen("cat > /dev/null; exit 4", "we");
              std::fputs("something\n", input);
              on.note(describe(::pclose(input)));
              meanwhile.let_go();
              on.note(::wait(nullptr) == meanwhile.pid());
          }) == "one\n\nended with 3\nended with 4\n1\n");
}

TEST_CASE("pclose lets others run while the child does") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              const int inherited = on.own(must(::dup(reader)));
              FILE* child = ::popen(("read line </proc/$$/fd/" + std::to_string(inherited)).c_str(), "we");
              auto telling = when_waiting(on, [&, to = writer] { must(::write(to, "go\n", 3)); });
              on.note(describe(::pclose(child)));
          }) == "ended with 0\n");
}

// ---- fork -----------------------------------------------------------------------------------------------------------

namespace {

/// Forks; in the child, calls `work`, and ends with what it returns.
pid_t fork_and(const std::function<int()>& work)
{
    const pid_t child = must(::fork());
    if (child == 0)
        ::_exit(work());
    return child;
}

int status_of(pid_t child)
{
    int status = -1;
    must(::waitpid(child, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

} // namespace

TEST_CASE("a child forked from a fiber waits for descriptors, time, locks and children of its own") {
    CHECK(native_diff([](stage& on) {
              const auto down = make_pipe(on);
              const auto up = unix_pair(on);
              char heard = 0;
              auto waits_before = on.start([&] { // so that the descriptor is being watched when the fork happens
                  must(::read(up.a, &heard, 1));
              });
              on.until_waiting(waits_before.who());
              const pid_t child = fork_and([&] {
                  char byte = 0;
                  if (::read(down.a, &byte, 1) != 1 || byte != 'x')
                      return 1;
                  if (::usleep(1000) != 0)
                      return 2;
                  const pid_t grandchild = fork_and([] { return ::usleep(1000) == 0 ? 5 : 6; });
                  if (status_of(grandchild) != 5)
                      return 3;
                  if (describe(::system("exit 9")) != "ended with 9")
                      return 4;
                  pollfd item{.fd = down.a, .events = POLLIN, .revents = 0};
                  if (::poll(&item, 1, 2) != 0)
                      return 5;
                  return ::write(up.b, "y", 1) == 1 ? 0 : 6;
              });
              ::usleep(1000);
              must(::write(down.b, "x", 1));
              on.note("child", status_of(child));
              waits_before.join();
              on.note("heard", heard);
              // And the parent's reactor has lost nothing.
              auto feeding = when_waiting(on, [&] { must(::write(up.b, "z", 1)); });
              char byte;
              on.record("read", [&] { return ::read(up.a, &byte, 1); });
          }) == "child 0\nheard y\nread 1\n");
}

TEST_CASE("a child has the calling fiber only") {
    CHECK(in_fiber([](stage& on) {
              std::atomic<int> runs{0};
              coir::fiber_group others;
              for (int i = 0; i < 3; ++i)
                  others.spawn([&] {
                      for (int j = 0; j < 5; ++j) {
                          ++runs;
                          ::usleep(500);
                      }
                  });
              coir::this_fiber::yield();
              const pid_t child = fork_and([&] {
                  const int before = runs;
                  ::usleep(5000);
                  return runs == before ? 0 : 1;
              });
              on.note("child", status_of(child));
              others.join();
              on.note(runs.load());
          }) == "child 0\n15\n");
}

namespace {

[[noreturn]] void become_echo(int output)
{
    ::dup2(output, 1);
    ::close_range(3, ~0U, 0);
    ::execlp("sh", "sh", "-c", "echo from the child", nullptr);
    ::_exit(127);
}

pid_t echo_by_fork(int output)
{
    const pid_t child = ::fork();
    if (child == 0)
        become_echo(output);
    return child;
}

pid_t echo_by_vfork(int output)
{
    const pid_t child = ::vfork();
    if (child == 0)
        become_echo(output);
    return child;
}

} // namespace

TEST_CASE("exec after fork and after vfork, with descriptors put in place before") {
    for (const auto start : {echo_by_fork, echo_by_vfork})
        CHECK(native_diff([start](stage& on) {
                  const auto [reader, writer] = make_pipe(on);
                  const pid_t child = start(writer);
                  on.close(writer);
                  on.note(read_exactly(reader, 15), child > 0, status_of(child));
                  pollfd item{.fd = reader, .events = POLLIN, .revents = 0};
                  on.record("poll", [&] { return ::poll(&item, 1, -1); });
                  on.note((item.revents & POLLHUP) != 0);
              }) == "from the child\n 1 0\npoll 1\n1\n");
}

TEST_CASE("between vfork and exec there is no fiber: calls block the child, and nobody else") {
    CHECK(in_fiber([](stage& on) {
              const auto ends = make_pipe(on);
              const auto id = coir::this_fiber::get_id();
              const pid_t child = ::vfork();
              if (child == 0) {
                  const timespec little{.tv_sec = 0, .tv_nsec = 2'000'000};
                  ::nanosleep(&little, nullptr);
                  const bool alone = !coir::this_fiber::active();
                  ::_exit(::write(ends.b, "v", 1) == 1 && alone ? 0 : 1);
              }
              on.note(status_of(child), coir::this_fiber::get_id() == id, read_exactly(ends.a, 1));
          }) == "0 1 v\n");
}

TEST_CASE("getpass asks, and waits for the answer") {
    CHECK(native_diff([](stage& on) {
              const auto down = make_pipe(on);
              const auto up = make_pipe(on);
              const pid_t child = fork_and([&] {
                  ::setsid(); // without a terminal, which it would ask
                  ::dup2(down.a, STDIN_FILENO);
                  ::dup2(up.b, STDERR_FILENO);
                  std::clearerr(stdin);
                  bool others_run = false;
                  auto other = on.start([&] {
                      others_run = true;
                      must(::write(up.b, "!", 1));
                  });
                  const char* const word = ::getpass("word? ");
                  other.join();
                  return word && std::strcmp(word, "secret") == 0 && others_run ? 0 : 1;
              });
              auto asked = read_exactly(up.a, 7); // in either order
              std::ranges::sort(asked);
              on.note(asked);
              must(::write(down.b, "secret\n", 7));
              on.note(status_of(child));
          }) == " !?dorw\n0\n");
}
