// SPDX-License-Identifier: BSL-1.0
#include <coir/net/process.hpp>

#include "spawn.hpp"

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/readiness.hpp>

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

namespace coir::net {

namespace {

[[noreturn]] void fail(int error, const char* what)
{
    throw std::system_error{error, std::generic_category(), std::string{"coir::net::process: "} + what};
}

// glibc 2.36 declares pidfd_open and pidfd_send_signal without extern "C".

int open_pidfd(pid_t process) noexcept
{
    return static_cast<int>(::syscall(SYS_pidfd_open, process, 0));
}

int send_by(int pidfd, int signal) noexcept
{
    return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

enum class look { running, ended, lost };

/// Takes the status of a child that has ended.
look reap(int pidfd, exit_status& status) noexcept
{
    siginfo_t info{};
    if (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) != 0)
        return look::lost; // ECHILD
    if (info.si_pid == 0)
        return look::running;
    status = info.si_code == CLD_EXITED ? exit_status::of_code(info.si_status)
                                        : exit_status::of_signal(info.si_status, info.si_code == CLD_DUMPED);
    return look::ended;
}

int milliseconds_until(clock::time_point deadline) noexcept
{
    if (deadline == never)
        return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now()).count();
    return static_cast<int>(std::clamp<decltype(left)>(left, 0, std::numeric_limits<int>::max()));
}

/// Whether it has ended by then. Suspends; blocks on a plain thread and in virtual time.
bool ended_before(int pidfd, clock::time_point deadline) noexcept
{
    for (;;) {
        pollfd ended{.fd = pidfd, .events = POLLIN, .revents = 0};
        if (::poll(&ended, 1, 0) > 0)
            return true;
        const auto status = wait_ready(pidfd, POLLIN, deadline);
        if (status == wait_status::unsupported)
            return ::poll(&ended, 1, milliseconds_until(deadline)) > 0;
        if (status == wait_status::timed_out)
            return false;
    }
}

void read_all(pipe_reader& from, std::string& into, std::size_t size_max)
{
    constexpr std::size_t step = 16384;
    std::array<char, step> part;
    error_code ec;
    for (;;) {
        const auto size = from.read_some(part, ec);
        if (is_eof(ec))
            break;
        throw_if(ec, "coir::net::process: communicate");
        if (size > size_max - into.size())
            fail(EMSGSIZE, "communicate: more output than is allowed");
        into.append(part.data(), size);
    }
    from.close(ec);
}

void write_all(pipe_writer& into, std::string_view text)
{
    error_code ec;
    into.write(text, ec);
    if (ec != error::broken_pipe) // it need not read all of it
        throw_if(ec, "coir::net::process: communicate");
    into.close(ec);
}

} // namespace

process::process(const std::vector<std::string>& arguments, const process_options& options)
    : own_group_{options.own_group}, grace_{options.grace}
{
    child_streams streams{options};
    pid_ = spawn_child(arguments, options, streams);
    // Nobody has waited for it yet, so the number is still its own even if it has ended.
    pidfd_ = unique_fd{open_pidfd(pid_)};
    if (!pidfd_) {
        const int error = errno;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        fail(error, "pidfd_open");
    }
    in_ = pipe_writer{streams.take_pipe(0)};
    out_ = pipe_reader{streams.take_pipe(1)};
    err_ = pipe_reader{streams.take_pipe(2)};
}

process::process(process&& other) noexcept = default;

process& process::operator=(process&& other) noexcept
{
    if (this != &other) {
        end();
        pid_ = other.pid_;
        pidfd_ = std::move(other.pidfd_);
        own_group_ = other.own_group_;
        grace_ = other.grace_;
        status_ = other.status_;
        in_ = std::move(other.in_);
        out_ = std::move(other.out_);
        err_ = std::move(other.err_);
    }
    return *this;
}

process::~process()
{
    end();
}

void process::end() noexcept
{
    if (!pidfd_ || status_)
        return;
    const shield uninterrupted;
    send(SIGTERM);
    in_ = {}; // it may be waiting for us
    out_ = {};
    err_ = {};
    if (!ended_before(pidfd_.get(), deadline_after(grace_)))
        send(SIGKILL);
    ended_before(pidfd_.get(), never);
    if (own_group_)
        send(SIGKILL); // who is left of it; before we wait for it the number cannot be anybody else's
    exit_status ignored;
    reap(pidfd_.get(), ignored);
}

bool process::send(int signal) noexcept
{
    return (own_group_ ? ::kill(-pid_, signal) : send_by(pidfd_.get(), signal)) == 0;
}

bool process::kill(int signal)
{
    if (!pidfd_ || status_)
        return false;
    if (!send(signal) && errno != ESRCH)
        fail(errno, "kill");
    return true;
}

std::optional<exit_status> process::try_wait()
{
    if (status_)
        return status_;
    if (!pidfd_)
        fail(ECHILD, "wait");
    exit_status status;
    switch (reap(pidfd_.get(), status)) {
    case look::running: break;
    case look::ended: status_ = status; break;
    case look::lost: fail(ECHILD, "wait");
    }
    return status_;
}

exit_status process::wait()
{
    for (;;) {
        if (const auto status = try_wait())
            return *status;
        wait_readable(pidfd_.get());
    }
}

process_output process::communicate(std::string_view input, std::size_t output_max)
{
    process_output output;
    fiber_group transfers;
    if (in_.is_open())
        transfers.spawn({.name = "child's input"}, [&] { write_all(in_, input); });
    if (out_.is_open())
        transfers.spawn({.name = "child's output"}, [&] { read_all(out_, output.out, output_max); });
    if (err_.is_open())
        transfers.spawn({.name = "child's errors"}, [&] { read_all(err_, output.err, output_max); });
    transfers.join();
    return output;
}

run_result run(const std::vector<std::string>& arguments, const run_options& options)
{
    auto streams = options.process;
    if (streams.in.is_inherited())
        streams.in = options.input.empty() ? child_io::null() : child_io::pipe();
    for (auto* each : {&streams.out, &streams.err})
        if (each->is_inherited())
            *each = child_io::pipe();
    process child{arguments, streams};
    auto [out, err] = child.communicate(options.input, options.output_max);
    return {child.wait(), std::move(out), std::move(err)};
}

} // namespace coir::net
