// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/exit_status.hpp>
#include <coir/net/pipe.hpp>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace coir::net {

/// Where one of a child's standard streams leads.
class child_io {
public:
    /// To where ours leads.
    child_io() noexcept = default;
    static child_io inherit() noexcept { return {}; }
    /// Nothing to read, and what is written is dropped (null(4)).
    static child_io null() { return child_io{kind::file, "/dev/null"}; }
    /// To `process::in`, `out` or `err`.
    static child_io pipe() noexcept { return child_io{kind::pipe}; }
    /// A file: to be read, or created, or emptied if there is one (0666 and the umask).
    static child_io file(std::string path) { return child_io{kind::file, std::move(path)}; }
    /// The same, but what is written comes behind what is there.
    static child_io append(std::string path) { return child_io{kind::append, std::move(path)}; }
    /// A descriptor, which stays the caller's and may be closed once the process has started.
    static child_io descriptor(int number) noexcept { return child_io{kind::descriptor, {}, number}; }
    /// For the standard error: to where the standard output leads.
    static child_io output() noexcept { return child_io{kind::output}; }

    bool is_inherited() const noexcept { return kind_ == kind::inherit; }

private:
    friend class child_streams;
    enum class kind { inherit, pipe, file, append, descriptor, output };
    explicit child_io(kind what, std::string path = {}, int number = -1) noexcept
        : kind_{what}, path_{std::move(path)}, descriptor_{number}
    {
    }

    kind kind_ = kind::inherit;
    std::string path_;
    int descriptor_ = -1;
};

struct process_options {
    child_io in{};
    child_io out{};
    child_io err{};
    std::string directory{}; ///< to start in, and where a program with a slash in its name is looked for; empty: ours
    std::optional<std::vector<std::string>> environment{}; ///< "NAME=value", all of it; nothing: ours
    bool own_group = false; ///< a process group of its own, to which `kill` and the destructor go: grandchildren too
    std::chrono::milliseconds grace{1000}; ///< between the destructor's SIGTERM and its SIGKILL
};

/// What a process wrote.
struct process_output {
    std::string out;
    std::string err;
};

/// A program that runs as a child, and ends before its owner does.
///
///     coir::net::process sort{{"sort", "-n"}, {.in = child_io::pipe(), .out = child_io::pipe()}};
///     auto lines = sort.communicate("3\n1\n2\n").out;
///     if (!sort.wait().success()) ...
///
/// It has its standard streams and no other descriptor, all signals at their defaults and none blocked. What is sent to
/// it goes by a pidfd and so never to somebody else with its number. Nobody else must wait for all children (wait(2))
/// or ignore SIGCHLD: what it ended with would be lost. Distinct objects: safe. Shared: by fibers of one hub.
class process {
public:
    /// Starts `arguments[0]`, which is looked for in PATH if there is no slash in it. Never suspends; blocks until the
    /// program is loaded. Throws std::system_error that names the program, directory or file: ENOENT, EACCES, EMFILE,
    /// E2BIG; std::invalid_argument where there is no argument, or a null byte in one.
    explicit process(const std::vector<std::string>& arguments, const process_options& options = {});
    process(process&& other) noexcept;
    process& operator=(process&& other) noexcept;
    /// If nobody has waited for it: sends SIGTERM, `grace` later SIGKILL, and waits. Suspends. Cancellation and
    /// timeouts do not shorten it.
    ~process();

    /// Suspends until it has ended; a plain thread blocks. Any number of times. Throws `cancelled`, `timed_out`, and it
    /// runs on; std::system_error: ECHILD if somebody else has taken its status, EPERM in virtual time.
    exit_status wait();
    /// Never suspends. Nothing while it runs.
    std::optional<exit_status> try_wait();

    /// Sends a signal; to all of its group if it has one of its own. False if it has been waited for. Never suspends.
    /// Throws std::system_error: EINVAL, EPERM for a program that has changed its user (kill(2)).
    bool kill(int signal = SIGKILL);
    bool terminate() { return kill(SIGTERM); }

    pid_t pid() const noexcept { return pid_; }
    /// Its pidfd, readable once it has ended (pidfd_open(2)).
    int native_handle() const noexcept { return pidfd_.get(); }

    /// Our ends of its pipes. Closed where there is none.
    pipe_writer& in() noexcept { return in_; }
    pipe_reader& out() noexcept { return out_; }
    pipe_reader& err() noexcept { return err_; }

    /// Writes `input` to its pipe and closes that, and reads its other pipes to their ends, all at once: so neither can
    /// wait for the other. A child that does not read all of its input is no error. Suspends; in a fiber only. Throws
    /// `cancelled`, `timed_out`, and std::system_error (EMSGSIZE) as soon as one pipe has given more than `output_max`
    /// bytes. Grandchildren may keep the pipes open for longer than the child lives.
    process_output communicate(std::string_view input = {}, std::size_t output_max = default_output_max);

    static constexpr std::size_t default_output_max = std::size_t{64} << 20;

private:
    void end() noexcept;
    bool send(int signal) noexcept;

    pid_t pid_ = -1;
    unique_fd pidfd_; ///< also when it has been waited for
    bool own_group_ = false;
    std::chrono::milliseconds grace_{};
    std::optional<exit_status> status_;
    pipe_writer in_;
    pipe_reader out_;
    pipe_reader err_;
};

struct run_options {
    std::string_view input{}; ///< for its standard input, which ends behind it
    std::size_t output_max = process::default_output_max;
    process_options process{}; ///< streams that are said to be inherited are pipes here
};

struct run_result {
    exit_status status;
    std::string out;
    std::string err;
};

/// Runs a program to its end, and returns what became of it. Suspends; in a fiber only. Throws as `process` and
/// `communicate` do; then the program has been ended.
///
///     auto [status, out, err] = coir::net::run({"git", "describe", "--tags"});
run_result run(const std::vector<std::string>& arguments, const run_options& options = {});

} // namespace coir::net
