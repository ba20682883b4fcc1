// SPDX-License-Identifier: BSL-1.0
// Unmodified libssh2 in fibers, with OpenSSH's sshd.
#include "server.hpp"
#include "together.hpp"

#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <libssh2.h>
#include <libssh2_sftp.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <ostream>
#include <string_view>
#include <vector>

namespace clients {
namespace {

// ---- the server -----------------------------------------------------------------------------------------------------

/// Logs in who runs the tests, with a key. With SHLVL set, bash does not read what the user has in ~/.bashrc.
struct ssh_server {
    ssh_server()
    {
        const auto sshd = program("sshd", "openssh-server");
        const auto keygen = program("ssh-keygen", "openssh-client") + " -q -t ed25519 -N '' -f ";
        std::ofstream{process.directory() / "config"} << "ListenAddress 127.0.0.1:" << port << "\n"
                                                      << "HostKey " << file("host") << "\n"
                                                      << "AuthorizedKeysFile " << file("user.pub") << "\n"
                                                      << "PidFile none\n"
                                                         "StrictModes no\n"
                                                         "UsePAM no\n"
                                                         "UseDNS no\n"
                                                         "PasswordAuthentication no\n"
                                                         "PermitRootLogin yes\n"
                                                         "MaxStartups 200\n"
                                                         "SetEnv SHLVL=2\n"
                                                         "Subsystem sftp internal-sftp\n";
        // As root, sshd wants a directory that Debian's init makes.
        process.start(keygen + "host && " + keygen + "user && " + keygen + "other && " +
                          (::geteuid() == 0 ? "mkdir -p /run/sshd && " : "") + "exec " + sshd +
                          " -D -e -f \"$PWD/config\"",
                      "", SIGTERM);
    }
    bool is_ready() const { return accepts_connections(port); }
    std::string file(const std::string& name) const { return (process.directory() / name).string(); }

    const std::string user = ::getpwuid(::geteuid())->pw_name;
    server_process process{"ssh"};
    int port = free_port();
};

ssh_server& ssh()
{
    [[maybe_unused]] static const auto once = [] {
        ::signal(SIGPIPE, SIG_IGN);
        return libssh2_init(0);
    }();
    return shared<ssh_server>();
}

struct with_ssh {
    with_ssh() { ssh(); }
};

// ---- libssh2 as anybody uses it -------------------------------------------------------------------------------------

struct answer {
    int code = 0; ///< LIBSSH2_ERROR_*
    std::string error;
    std::string output;
    std::string complaints; ///< stderr
    int status = -1;        ///< what the command exited with
    std::string signal;
    bool nonblocking = false; ///< whether the session's socket has O_NONBLOCK

    friend bool operator==(const answer&, const answer&) = default;
    friend std::ostream& operator<<(std::ostream& out, const answer& it)
    {
        return out << "{" << it.code << " " << it.error << ", " << it.output.size()
                   << " bytes: " << it.output.substr(0, 40) << ", stderr " << it.complaints << ", status " << it.status
                   << ", signal " << it.signal << ", O_NONBLOCK " << it.nonblocking << "}";
    }
};

class session {
public:
    explicit session(int port = ssh().port, const char* key = "user") : socket_{connect_to(port)}
    {
        const auto& user = ssh().user;
        if (libssh2_session_handshake(session_.get(), socket_) == 0)
            libssh2_userauth_publickey_fromfile(session_.get(), user.c_str(),
                                                ssh().file(key + std::string{".pub"}).c_str(), ssh().file(key).c_str(),
                                                nullptr);
    }
    session(const session&) = delete;
    session& operator=(const session&) = delete;
    ~session()
    {
        libssh2_session_disconnect(session_.get(), "bye");
        session_.reset();
        ::close(socket_);
    }

    LIBSSH2_SESSION* get() const noexcept { return session_.get(); }
    int socket() const noexcept { return socket_; }

    answer state() const
    {
        answer result;
        char* error = nullptr;
        result.code = libssh2_session_last_error(session_.get(), &error, nullptr, 0);
        result.error = error ? error : "";
        result.nonblocking = is_nonblocking(socket_);
        return result;
    }

private:
    struct session_free {
        void operator()(LIBSSH2_SESSION* session) const noexcept { libssh2_session_free(session); }
    };
    int socket_;
    std::unique_ptr<LIBSSH2_SESSION, session_free> session_{libssh2_session_init()};
};

struct channel_free {
    void operator()(LIBSSH2_CHANNEL* channel) const noexcept { libssh2_channel_free(channel); }
};
using channel = std::unique_ptr<LIBSSH2_CHANNEL, channel_free>;

channel start_command(const session& in, const std::string& command)
{
    channel mine{libssh2_channel_open_session(in.get())};
    if (mine)
        libssh2_channel_exec(mine.get(), command.c_str());
    return mine;
}

/// Reads all there is of one stream.
std::string read_all(LIBSSH2_CHANNEL* from, int stream)
{
    std::string all;
    char buffer[32768];
    for (ssize_t size; (size = libssh2_channel_read_ex(from, stream, buffer, sizeof buffer)) > 0;)
        all.append(buffer, static_cast<std::size_t>(size));
    return all;
}

answer finish_command(const session& in, const channel& mine)
{
    if (!mine)
        return in.state();
    auto output = read_all(mine.get(), 0);
    auto complaints = read_all(mine.get(), SSH_EXTENDED_DATA_STDERR);
    auto result = in.state();
    result.output = std::move(output);
    result.complaints = std::move(complaints);
    libssh2_channel_close(mine.get());
    libssh2_channel_wait_closed(mine.get());
    result.status = libssh2_channel_get_exit_status(mine.get());
    char* signal = nullptr;
    libssh2_channel_get_exit_signal(mine.get(), &signal, nullptr, nullptr, nullptr, nullptr, nullptr);
    result.signal = signal ? signal : "";
    libssh2_free(in.get(), signal);
    return result;
}

answer command(const session& in, const std::string& text)
{
    return finish_command(in, start_command(in, text));
}

// libssh2's shorter names are macros that convert sizes silently.
unsigned size_of(const std::string& text)
{
    return static_cast<unsigned>(text.size());
}

LIBSSH2_SFTP_HANDLE* open_file(LIBSSH2_SFTP* in, const std::string& path, unsigned long flags)
{
    return libssh2_sftp_open_ex(in, path.data(), size_of(path), flags, 0644, LIBSSH2_SFTP_OPENFILE);
}

} // namespace

// ---- many at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_ssh, "thirty fibers log in and wait for a command with libssh2 at once, on one thread") {
    constexpr std::size_t count = 30;
    const auto gate = ssh().file("gate");
    const auto request = [&] {
        const session mine;
        return command(mine, "until [ -e " + gate + " ]; do sleep 0.05; done; echo through");
    };
    std::vector<answer> answers(count);
    const auto most = together(
        count, [&](std::size_t i) { answers[i] = request(); }, [&] { std::ofstream{gate} << "open"; });
    const auto expected = natively(request);
    CHECK(expected.output == "through\n");
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
    std::filesystem::remove(gate);
}

// ---- as native ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_ssh, "commands with libssh2 are as native") {
    const auto one = [](const std::string& text) {
        return check_native([&] {
            const session mine;
            return command(mine, text);
        });
    };
    CHECK(one("echo out; echo err >&2; exit 7").status == 7);
    CHECK(one("echo out; echo err >&2; exit 7").complaints == "err\n");
    CHECK(one("kill -TERM $$").signal == "TERM");
    CHECK(one("seq 300000").output.ends_with("\n300000\n"));
    CHECK(one("sleep 0.05; echo later").output == "later\n");
}

TEST_CASE_FIXTURE(with_ssh, "three megabytes into a command with libssh2 are as native") {
    std::string data;
    while (data.size() < 3'000'000)
        data += std::to_string(data.size());
    const auto result = check_native([&] {
        const session mine;
        const auto sum = start_command(mine, "wc -c; true");
        for (std::string_view rest = data; !rest.empty();) {
            const auto size = libssh2_channel_write(sum.get(), rest.data(), rest.size());
            if (size <= 0)
                return mine.state();
            rest.remove_prefix(static_cast<std::size_t>(size));
        }
        libssh2_channel_send_eof(sum.get());
        return finish_command(mine, sum);
    });
    CHECK(std::atol(result.output.c_str()) == static_cast<long>(data.size()));
}

TEST_CASE_FIXTURE(with_ssh, "SFTP with libssh2 is as native") {
    std::string data;
    while (data.size() < 1'000'000)
        data += std::to_string(data.size());
    const auto work = [&](const std::string& directory) {
        std::string result;
        const session mine;
        LIBSSH2_SFTP* const sftp = libssh2_sftp_init(mine.get());
        if (!sftp)
            return mine.state().error;
        const auto path = ssh().file(directory);
        result += std::to_string(libssh2_sftp_mkdir_ex(sftp, path.data(), size_of(path), 0755));
        const auto file = path + "/file";
        LIBSSH2_SFTP_HANDLE* handle = open_file(sftp, file, LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_TRUNC);
        for (std::string_view rest = data; handle && !rest.empty();) {
            const auto size = libssh2_sftp_write(handle, rest.data(), rest.size());
            if (size <= 0)
                break;
            rest.remove_prefix(static_cast<std::size_t>(size));
        }
        libssh2_sftp_close(handle);
        LIBSSH2_SFTP_ATTRIBUTES attributes{};
        libssh2_sftp_stat_ex(sftp, file.data(), size_of(file), LIBSSH2_SFTP_STAT, &attributes);
        result += " " + std::to_string(attributes.filesize) + " ";
        handle = open_file(sftp, file, LIBSSH2_FXF_READ);
        std::string back;
        char buffer[30'000];
        for (ssize_t size; handle && (size = libssh2_sftp_read(handle, buffer, sizeof buffer)) > 0;)
            back.append(buffer, static_cast<std::size_t>(size));
        libssh2_sftp_close(handle);
        result += back == data ? "same" : "different";
        handle = open_file(sftp, path + "/none", LIBSSH2_FXF_READ);
        result += handle ? " found" : " not found, " + std::to_string(libssh2_sftp_last_error(sftp));
        result += std::to_string(libssh2_sftp_unlink_ex(sftp, file.data(), size_of(file)));
        result += std::to_string(libssh2_sftp_rmdir_ex(sftp, path.data(), size_of(path)));
        libssh2_sftp_shutdown(sftp);
        return result;
    };
    const auto expected = natively([&] { return work("directory"); });
    CHECK(expected == "0 " + std::to_string(data.size()) + " same not found, 200");
    std::vector<std::string> results(5);
    const auto most =
        together(results.size(), [&](std::size_t i) { results[i] = work("directory" + std::to_string(i)); });
    for (const auto& each : results)
        CHECK(each == expected);
    CHECK(most.threads == 1);
}

// ---- failures -------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_ssh, "a failed login with libssh2 is as native") {
    const auto login = [](const char* key) {
        return check_native([&] {
            const session mine{ssh().port, key};
            auto result = mine.state();
            result.status = libssh2_userauth_authenticated(mine.get());
            return result;
        });
    };
    CHECK(login("user").status == 1);
    CHECK(login("other").code == LIBSSH2_ERROR_AUTHENTICATION_FAILED);
    CHECK(login("none").code == LIBSSH2_ERROR_FILE);
    const auto nobody = check_native([port = free_port()] { return session{port}.state(); });
    CHECK(nobody.code != 0);
}

TEST_CASE_FIXTURE(with_ssh, "libssh2's own time-out is as native") {
    const auto result = check_native([] {
        const session mine;
        libssh2_session_set_timeout(mine.get(), 200);
        const auto nothing = start_command(mine, "cat");
        char byte = 0;
        libssh2_channel_read(nothing.get(), &byte, 1);
        return mine.state();
    });
    CHECK(result.code == LIBSSH2_ERROR_TIMEOUT);
}

TEST_CASE_FIXTURE(with_ssh, "a session whose sshd is killed midway is libssh2's own error, as native") {
    // sshd has a process for each session; the command says which.
    const auto result = check_native_pair([](auto&& both) {
        const session mine;
        const auto hangs = start_command(mine, "echo $PPID; exec cat");
        char buffer[32];
        const auto size = libssh2_channel_read(hangs.get(), buffer, sizeof buffer);
        REQUIRE(size > 0);
        const pid_t process = std::atoi(std::string{buffer, static_cast<std::size_t>(size)}.c_str());
        REQUIRE(process > 1);
        std::string others;
        answer killed;
        both(
            [&] {
                const auto got = libssh2_channel_read(hangs.get(), buffer, sizeof buffer);
                killed = mine.state();
                killed.status = static_cast<int>(got);
            },
            [&] {
                const session other;
                others = command(other, "kill -KILL " + std::to_string(process) + "; echo still here").output;
            });
        CHECK(others == "still here\n");
        return killed;
    });
    CHECK(result.code == LIBSSH2_ERROR_SOCKET_RECV);
}

TEST_CASE("an SSH server that is killed before it has said a word is libssh2's own error, as native") {
    std::optional<ssh_server> server;
    start(server);
    const auto result = check_killed_midway(
        server->process, [&] { return server->port; }, [](int port) { return session{port}.state(); });
    CHECK(result.code != 0);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_ssh, "a deadline ends a read from a libssh2 channel with an error of libssh2's") {
    const session mine;
    auto hangs = start_command(mine, "cat");
    char byte = 0;
    const auto result = with_deadline([&] {
        libssh2_channel_read(hangs.get(), &byte, 1);
        return mine.state();
    });
    CHECK(result.code == LIBSSH2_ERROR_TIMEOUT);
    // The session is as good as before.
    const auto next = in_a_fiber([&] {
        hangs.reset();
        return command(mine, "echo next");
    });
    CHECK(next.output == "next\n");
}

TEST_CASE_FIXTURE(with_ssh, "a deadline ends libssh2's handshake with an error of libssh2's") {
    const silent_port silent;
    const auto result = with_deadline([&] { return session{silent.port()}.state(); });
    CHECK(result.code != 0);
}

TEST_CASE_FIXTURE(with_ssh, "cancellation ends a read from a libssh2 channel with an error of libssh2's") {
    const session mine;
    const auto hangs = start_command(mine, "cat");
    char byte = 0;
    const auto result = with_cancellation([&] {
        libssh2_channel_read(hangs.get(), &byte, 1);
        return mine.state();
    });
    CHECK(result.code == LIBSSH2_ERROR_TIMEOUT);
}

} // namespace clients
