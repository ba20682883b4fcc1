// SPDX-License-Identifier: BSL-1.0
// Runs a server for a test program, and ends with it:
//
//     keeper PARENT DIRECTORY USER SIGNAL COMMAND
//
// COMMAND, for /bin/sh, runs in DIRECTORY; if we are root, then as USER, or nobody if there is no such user: PostgreSQL
// refuses to be root. USER may be empty, for us. On SIGTERM, and when PARENT dies of whatever, the server is stopped
// with SIGNAL and DIRECTORY is removed. Meanwhile DIRECTORY has
//
//     log       what the server says
//     pid       its process
//     ended     its wait status, once it has ended of its own accord
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace {

[[noreturn]] void die(const char* what)
{
    std::fprintf(stderr, "keeper: %s: %s\n", what, std::strerror(errno));
    ::_exit(1);
}

void write_number(const char* name, int number)
{
    const auto temporary = std::string{name} + ".new";
    std::ofstream{temporary} << number << '\n';
    std::filesystem::rename(temporary, name);
}

void become(const passwd& user)
{
    if (::initgroups(user.pw_name, user.pw_gid) != 0 || ::setgid(user.pw_gid) != 0 || ::setuid(user.pw_uid) != 0)
        die(user.pw_name);
}

/// The server's process, which does not return.
[[noreturn]] void run(const char* command, const passwd* user, int signal)
{
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::setpgid(0, 0);

    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);

    const int log = ::open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    const int nothing = ::open("/dev/null", O_RDONLY);
    if (log < 0 || nothing < 0)
        die("log");
    ::dup2(nothing, 0);
    ::dup2(log, 1);
    ::dup2(log, 2);
    ::close_range(3, ~0U, 0);
    if (user)
        become(*user);
    ::prctl(PR_SET_PDEATHSIG, signal); // a change of user clears it
    ::execl("/bin/sh", "sh", "-c", command, nullptr);
    die("/bin/sh");
}

/// Whether `process` has ended, after a few seconds at most.
bool ends_soon(pid_t process)
{
    for (int tries = 0; tries < 500; ++tries) {
        if (const pid_t ended = ::waitpid(process, nullptr, WNOHANG); ended == process || ended < 0)
            return true;
        ::usleep(10'000);
    }
    return false;
}

void stop(pid_t server, int signal)
{
    ::kill(server, signal);
    if (!ends_soon(server)) {
        ::kill(server, SIGKILL);
        ::waitpid(server, nullptr, 0);
    }
    ::kill(-server, SIGKILL); // what it has left in its process group
}

} // namespace

int main(int count, char** arguments)
{
    if (count != 6)
        return 2;
    const pid_t parent = std::atoi(arguments[1]);
    const std::filesystem::path directory = arguments[2];
    const int signal = std::atoi(arguments[4]);

    sigset_t awaited;
    sigemptyset(&awaited);
    for (int each : {SIGTERM, SIGINT, SIGHUP, SIGCHLD})
        sigaddset(&awaited, each);
    ::sigprocmask(SIG_BLOCK, &awaited, nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    const bool orphaned = ::getppid() != parent; // before we could ask to be told
    ::close_range(3, ~0U, 0);

    if (::chdir(directory.c_str()) != 0)
        die(directory.c_str());
    const passwd* user = nullptr;
    if (::geteuid() == 0 && *arguments[3]) {
        user = ::getpwnam(arguments[3]);
        if (!user)
            user = ::getpwnam("nobody");
        if (!user || ::chown(".", user->pw_uid, user->pw_gid) != 0)
            die("chown");
    }

    pid_t server = orphaned ? -1 : ::fork();
    if (server == 0)
        run(arguments[5], user, signal);
    if (server > 0)
        write_number("pid", server);

    for (int event = 0; !orphaned && event != SIGTERM && event != SIGINT && event != SIGHUP;) {
        ::sigwait(&awaited, &event);
        int status = 0;
        if (event == SIGCHLD && server > 0 && ::waitpid(server, &status, WNOHANG) == server) {
            ::kill(-server, SIGKILL);
            server = -1;
            write_number("ended", status);
        }
    }
    if (server > 0)
        stop(server, signal);
    ::chdir("/");
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
}
