// SPDX-License-Identifier: BSL-1.0
// Processes, with programs that everybody has.
#include <coir/net/process.hpp>

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/signal.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;
using namespace coir::net;

namespace {

struct failure {
    int code = 0;
    std::string what;
};

failure failure_of(auto&& call)
{
    try {
        call();
    } catch (const std::system_error& error) {
        return {error.code().value(), error.what()};
    }
    return {};
}

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

/// Neither running nor a zombie.
bool no_children()
{
    return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD;
}

bool exists(pid_t process)
{
    return ::kill(process, 0) == 0;
}

/// Something of a file system's own, removed at the end.
struct temporary_directory {
    std::string path = "/tmp/coir-process-XXXXXX";
    temporary_directory() { REQUIRE(::mkdtemp(path.data())); }
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;
    ~temporary_directory() { static_cast<void>(std::system(("rm -r " + path).c_str())); }
};

std::string contents(const std::string& path)
{
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// sh, which runs `script`.
std::vector<std::string> shell(std::string script)
{
    return {"sh", "-c", std::move(script)};
}

/// A child that says "ready" when it is in the state that the test is about.
void until_ready(process& child)
{
    std::string line;
    child.out().read_until(line, "\n");
    REQUIRE(line == "ready\n");
}

} // namespace

TEST_SUITE_BEGIN("process");

TEST_CASE("how a process ended, in words") {
    CHECK(exit_status{}.success());
    CHECK(exit_status::of_code(3).describe() == "exit status 3");
    CHECK(exit_status::of_signal(SIGKILL).describe() == "SIGKILL");
    CHECK(exit_status::of_signal(SIGSEGV, true).describe() == "SIGSEGV (core dumped)");
    CHECK(exit_status::of_signal(SIGRTMIN + 5).describe() == "signal " + std::to_string(SIGRTMIN + 5));
    CHECK_FALSE(exit_status::of_signal(SIGKILL).success());
    CHECK(exit_status::of_signal(SIGKILL).code() == -1);
}

TEST_CASE("a fiber waits for a process, and others run meanwhile") {
    coir::run([] {
        process child{{"cat"}, {.in = child_io::pipe(), .out = child_io::null()}};
        CHECK_FALSE(child.try_wait());
        bool ended = false;
        coir::fiber waiter{[&] {
            CHECK(child.wait().success());
            ended = true;
        }};
        coir::this_fiber::yield();
        CHECK_FALSE(ended);
        child.in().close();
        waiter.join();
        CHECK(ended);
        CHECK(child.wait() == exit_status::of_code(0)); // any number of times
        CHECK(child.try_wait() == exit_status::of_code(0));
        CHECK_FALSE(child.kill());
    });
    CHECK(no_children());
}

TEST_CASE("several fibers may wait for one process") {
    coir::run([] {
        process child{shell("read line; exit 7"), {.in = child_io::pipe()}};
        int ended = 0;
        coir::fiber_group waiters;
        for (int i = 0; i < 5; ++i)
            waiters.spawn([&] { ended += child.wait().code() == 7; });
        coir::this_fiber::yield();
        child.in().write("go\n");
        waiters.join();
        CHECK(ended == 5);
    });
}

TEST_CASE("a plain thread runs a process too") {
    process child{shell("exit 3")};
    CHECK(child.wait().code() == 3);
    process other{{"sleep", "1000"}, {.grace = 0ms}};
    CHECK(other.terminate());
    CHECK(other.wait().signal() == SIGTERM);
    CHECK(no_children());
}

TEST_CASE("exit codes and signals are told apart") {
    coir::run([] {
        CHECK(coir::net::run({"true"}).status.success());
        CHECK(coir::net::run({"false"}).status == exit_status::of_code(1));
        CHECK(coir::net::run(shell("exit 255")).status.code() == 255);
        const auto killed = coir::net::run(shell("kill -KILL $$")).status;
        CHECK(killed == exit_status::of_signal(SIGKILL));
        CHECK(killed.signalled());
        CHECK_FALSE(killed.exited());
        const auto aborted = coir::net::run(shell("ulimit -c 0; kill -ABRT $$")).status;
        CHECK(aborted.signal() == SIGABRT);
        CHECK_FALSE(aborted.core_dumped());
    });
}

TEST_CASE("both pipes are read while the input is written, however much it is") {
    coir::run([] {
        const std::string input(5'000'000, 'x');
        const auto copied = coir::net::run(shell("tee /dev/stderr"), {.input = input});
        CHECK(copied.status.success());
        CHECK((copied.out == input));
        CHECK((copied.err == input));
        CHECK(coir::net::run({"sort", "-n"}, {.input = "10\n9\n1\n"}).out == "1\n9\n10\n");
        CHECK(coir::net::run({"python3", "-c", "import sys; print(sys.stdin.read().upper(), end='')"}, {.input = "abc"})
                  .out == "ABC");
    });
    CHECK(no_children());
}

TEST_CASE("a child that does not read its input is no error") {
    coir::run([] {
        const std::string input(1'000'000, 'x');
        CHECK(coir::net::run({"true"}, {.input = input}).status.success());
        CHECK(coir::net::run({"head", "-c", "3"}, {.input = input}).out == "xxx");
    });
}

TEST_CASE("more output than is allowed ends the program") {
    coir::run([] {
        const auto flood = failure_of([] { coir::net::run({"yes"}, {.output_max = 100'000}); });
        CHECK(flood.code == EMSGSIZE);
        CHECK(coir::net::run(shell("printf 12345"), {.output_max = 5}).out == "12345");
        CHECK(failure_of([] { coir::net::run(shell("printf 123456 >&2"), {.output_max = 5}); }).code == EMSGSIZE);
    });
    CHECK(no_children());
}

TEST_CASE("the input may be closed, or nothing") {
    coir::run([] {
        CHECK(coir::net::run({"cat"}).out.empty());
        process child{{"cat"}, {.in = child_io::pipe(), .out = child_io::pipe()}};
        child.in().write("some");
        child.in().close();
        CHECK(child.communicate().out == "some");
        CHECK(child.wait().success());
    });
}

TEST_CASE("the streams lead to files, to descriptors, or one to the other") {
    const temporary_directory directory;
    const auto file = directory.path + "/file";
    coir::run([&] {
        process{{"echo", "first"}, {.out = child_io::file(file)}}.wait();
        CHECK(contents(file) == "first\n");
        process{{"echo", "second"}, {.out = child_io::append(file)}}.wait();
        CHECK(contents(file) == "first\nsecond\n");
        process{{"echo", "third"}, {.out = child_io::file(file)}}.wait();
        CHECK(contents(file) == "third\n");

        const auto read = coir::net::run({"cat"}, {.process = {.in = child_io::file(file)}});
        CHECK(read.out == "third\n");

        auto [reader, writer] = make_pipe();
        process child{shell("echo out; echo err >&2"),
                      {.out = child_io::descriptor(writer.native_handle()), .err = child_io::output()}};
        writer.close();
        std::string both;
        reader.read_until(both, "err\n");
        CHECK(both == "out\nerr\n");
        CHECK(child.wait().success());

        const auto merged = coir::net::run(shell("echo out; echo err >&2"), {.process = {.err = child_io::output()}});
        CHECK(merged.out == "out\nerr\n");
        CHECK(merged.err.empty());
        const auto dropped = coir::net::run(shell("echo out; echo err >&2"), {.process = {.err = child_io::null()}});
        CHECK(dropped.out == "out\n");

        // To the standard streams of our own, the other way round.
        const auto swapped =
            coir::net::run({"true"}, {.process = {.out = child_io::descriptor(2), .err = child_io::descriptor(1)}});
        CHECK(swapped.status.success());
    });
}

TEST_CASE("where our own standard streams are closed, the child's are not") {
    coir::run([] {
        const int kept = ::fcntl(0, F_DUPFD_CLOEXEC, 100);
        REQUIRE(kept >= 0);
        ::close(0); // what is opened next is number 0
        const auto result = coir::net::run({"cat"}, {.input = "text"});
        ::dup2(kept, 0);
        ::close(kept);
        CHECK(result.out == "text");
    });
}

TEST_CASE("a child has its standard streams and no other descriptor") {
    coir::run([] {
        const int inheritable = ::open("/dev/null", O_RDONLY); // not close-on-exec
        REQUIRE(inheritable > 2);
        // ls itself has the directory open.
        const auto listed = coir::net::run({"ls", "/proc/self/fd"});
        ::close(inheritable);
        CHECK(listed.out == "0\n1\n2\n3\n");
    });
}

TEST_CASE("a child has all signals at their defaults, and none blocked") {
    coir::run([] {
        const signal_set caught{SIGUSR1};
        const auto before = ::signal(SIGUSR2, SIG_IGN);
        sigset_t some;
        sigset_t mask;
        ::sigemptyset(&some);
        ::sigaddset(&some, SIGTERM);
        ::pthread_sigmask(SIG_BLOCK, &some, &mask);
        const auto status = coir::net::run({"cat", "/proc/self/status"}).out;
        ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
        ::signal(SIGUSR2, before);
        const auto set = [&](const std::string& name) {
            return std::stoull(status.substr(status.find(name) + name.size()), nullptr, 16);
        };
        CHECK(set("SigBlk:") == 0);
        CHECK(set("SigCgt:") == 0);
        CHECK((set("SigIgn:") & ~0x1'8000'0000ULL) == 0); // glibc lets its own two be ignored
    });
}

TEST_CASE("directory and environment") {
    const temporary_directory directory;
    coir::run([&] {
        CHECK(coir::net::run({"pwd", "-P"}, {.process = {.directory = directory.path}}).out == directory.path + "\n");
        const std::vector<std::string> environment{"ONE=1", "TWO=two words"};
        CHECK(coir::net::run({"env"}, {.process = {.environment = environment}}).out == "ONE=1\nTWO=two words\n");
        CHECK(coir::net::run({"env"}, {.process = {.environment = std::vector<std::string>{}}}).out.empty());
        ::setenv("COIR_TEST_INHERITED", "yes", 1);
        CHECK(coir::net::run(shell("echo $COIR_TEST_INHERITED")).out == "yes\n");
        ::unsetenv("COIR_TEST_INHERITED");
    });
}

TEST_CASE("what cannot be started says what it was") {
    coir::run([] {
        const auto missing = failure_of([] { process{{"no-such-program"}}; });
        CHECK(missing.code == ENOENT);
        CHECK(contains(missing.what, "no-such-program"));
        const auto unfit = failure_of([] { process{{"/etc/passwd"}}; });
        CHECK(unfit.code == EACCES);
        CHECK(contains(unfit.what, "/etc/passwd"));
        const auto nowhere = failure_of([] { process{{"true"}, {.directory = "/no/such/directory"}}; });
        CHECK(nowhere.code == ENOENT);
        CHECK(contains(nowhere.what, "/no/such/directory"));
        const auto unreadable = failure_of([] { process{{"cat"}, {.in = child_io::file("/no/such/file")}}; });
        CHECK(unreadable.code == ENOENT);
        CHECK(contains(unreadable.what, "/no/such/file"));
        const auto closed = failure_of([] { process{{"cat"}, {.in = child_io::descriptor(9999)}}; });
        CHECK(closed.code == EBADF);
        CHECK(contains(closed.what, "9999"));
        CHECK(failure_of([] { process{{"true", std::string(3'000'000, 'x')}}; }).code == E2BIG);
        CHECK_THROWS_AS((process{std::vector<std::string>{}}), std::invalid_argument);
        CHECK_THROWS_AS((process{{"echo", std::string("a\0b", 3)}}), std::invalid_argument);
        CHECK_THROWS_AS((process{{"true"}, {.out = child_io::output()}}), std::invalid_argument);
    });
    CHECK(no_children());
}

TEST_CASE("signals are sent to a process, and what is no signal is refused") {
    coir::run([] {
        process child{shell("trap 'echo caught; exit 5' USR1; echo ready; while :; do read line; done"),
                      {.in = child_io::pipe(), .out = child_io::pipe()}};
        until_ready(child);
        CHECK(child.kill(SIGUSR1));
        error_code already_gone; // one shell runs its trap at once, another when read has returned
        child.in().write("go on\n", already_gone);
        CHECK((!already_gone || already_gone == std::errc::broken_pipe));
        CHECK(child.wait().code() == 5);
        CHECK(child.communicate().out == "caught\n");

        process other{{"sleep", "1000"}};
        CHECK(failure_of([&] { other.kill(1000); }).code == EINVAL);
        CHECK(other.kill());
        CHECK(other.wait().signal() == SIGKILL);
    });
}

TEST_CASE("the end of a process ends with its owner, politely if it may") {
    const temporary_directory directory;
    const auto file = directory.path + "/file";
    coir::run([&] {
        {
            process child{shell("trap 'echo cleaned up > " + file + "; exit 0' TERM; echo ready; read line"),
                          {.in = child_io::pipe(), .out = child_io::pipe(), .grace = 1h}};
            until_ready(child);
        }
        CHECK(contents(file) == "cleaned up\n");
    });
    CHECK(no_children());
}

TEST_CASE("a child that ignores SIGTERM is killed") {
    coir::run([] {
        pid_t number = 0;
        {
            process child{shell("trap '' TERM; echo ready; while :; do sleep 1000; done"),
                          {.out = child_io::pipe(), .own_group = true, .grace = 1ms}};
            until_ready(child);
            number = child.pid();
        }
        CHECK_FALSE(exists(number));
    });
    CHECK(no_children());
}

TEST_CASE("grandchildren end with the group") {
    coir::run([] {
        // The pipe ends when the last who has it has ended.
        auto [reader, writer] = make_pipe();
        {
            process child{
                shell("sleep 1000 & echo ready; wait"),
                {.out = child_io::pipe(), .err = child_io::descriptor(writer.native_handle()), .own_group = true}};
            writer.close();
            until_ready(child);
        }
        error_code ec;
        char byte;
        CHECK(reader.read_some(boost::asio::buffer(&byte, 1), ec) == 0);
        CHECK(is_eof(ec));

        process child{shell("sleep 1000 & echo ready; wait"), {.out = child_io::pipe(), .own_group = true}};
        until_ready(child);
        CHECK(child.kill());
        CHECK(child.communicate().out.empty());
        CHECK(child.wait().signal() == SIGKILL);
    });
}

TEST_CASE("a timeout around a program ends it") {
    coir::run([] {
        coir::timeout limit{5ms};
        CHECK_THROWS_AS(coir::net::run({"sleep", "1000"}), coir::timed_out);
        limit.clear();
        process child{{"sleep", "1000"}};
        limit.reset(1ms);
        CHECK_THROWS_AS(child.wait(), coir::timed_out);
        limit.clear();
        CHECK_FALSE(child.try_wait()); // it runs on
        CHECK(child.terminate());
        CHECK(child.wait().signal() == SIGTERM);
    });
    CHECK(no_children());
}

TEST_CASE("who is cancelled while a program runs leaves none behind") {
    coir::run([] {
        auto [reader, writer] = make_pipe();
        coir::fiber runner{[&, &theirs = writer] {
            coir::net::run({"sleep", "1000"}, {.process = {.err = child_io::descriptor(theirs.native_handle())}});
        }};
        coir::this_fiber::yield();
        runner.cancel();
        runner.join();
    });
    CHECK(no_children());
}

TEST_CASE("two hundred children at once, one thread") {
    coir::run([] {
        constexpr int many = 200;
        int right = 0;
        coir::fiber_group runs;
        for (int i = 0; i < many; ++i)
            runs.spawn([&, i] {
                const auto text = std::to_string(i);
                right += coir::net::run({"cat"}, {.input = text}).out == text;
            });
        runs.join();
        CHECK(right == many);
    });
    CHECK(no_children());
}

TEST_CASE("children on several hubs") {
    std::atomic<int> right = 0;
    coir::run({.hubs = 3}, [&] {
        coir::fiber_group runs;
        for (int i = 0; i < 30; ++i)
            runs.spawn({.on = coir::placement::any_hub},
                       [&, i] { right += coir::net::run(shell("exit " + std::to_string(i))).status.code() == i; });
        runs.join();
    });
    CHECK(right == 30);
    CHECK(no_children());
}

TEST_CASE("an owner can be moved, and is given another") {
    coir::run([] {
        process first{{"sleep", "1000"}};
        const auto number = first.pid();
        process second{std::move(first)};
        CHECK(second.pid() == number);
        CHECK(failure_of([&] { first.wait(); }).code == ECHILD); // NOLINT(bugprone-use-after-move)
        CHECK_FALSE(first.kill());
        second = process{shell("exit 4")};
        CHECK_FALSE(exists(number));
        CHECK(second.wait().code() == 4);
    });
    CHECK(no_children());
}

TEST_CASE("a status that somebody else has taken is an error, and nobody else is signalled") {
    coir::run([] {
        process child{{"true"}};
        pollfd ended{.fd = child.native_handle(), .events = POLLIN, .revents = 0};
        REQUIRE(::poll(&ended, 1, -1) == 1);
        REQUIRE(::waitpid(child.pid(), nullptr, 0) == child.pid());
        CHECK(failure_of([&] { child.wait(); }).code == ECHILD);
        CHECK(child.kill()); // to nobody
    });
}

TEST_CASE("in virtual time nobody waits for a process, but it is ended") {
    coir::testing::run([] {
        process child{{"sleep", "1000"}};
        CHECK(failure_of([&] { child.wait(); }).code == EPERM);
    });
    CHECK(no_children());
}

TEST_SUITE_END();
