// SPDX-License-Identifier: BSL-1.0
#include "process.hpp"

#include <fmt/format.h>

#include <csignal>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <sys/wait.h>

process::process(const std::vector<std::string>& arguments, const unique_fd& first, const unique_fd& second)
{
    std::string name = "fetch";
    std::vector<char*> argv{name.data()};
    for (const auto& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);

    // Out of the way of the numbers that they will have in the child, where dup2 lets them survive exec.
    const unique_fd from_first{checked(::fcntl(first.get(), F_DUPFD_CLOEXEC, 10), "fcntl")};
    const unique_fd from_second{checked(::fcntl(second.get(), F_DUPFD_CLOEXEC, 10), "fcntl")};
    id_ = checked(::fork(), "fork");
    if (id_ == 0) {
        ::dup2(from_first.get(), first_descriptor);
        ::dup2(from_second.get(), second_descriptor);
        ::execv("/proc/self/exe", argv.data());
        ::_exit(127);
    }
}

process::~process()
{
    wait();
}

void process::kill() noexcept
{
    if (id_ > 0)
        ::kill(id_, SIGKILL);
}

std::string process::wait()
{
    if (id_ <= 0)
        return {};
    int status = 0;
    while (::waitpid(id_, &status, 0) < 0 && errno == EINTR)
        ;
    id_ = -1;
    if (WIFSIGNALED(status))
        return ::strsignal(WTERMSIG(status));
    return WEXITSTATUS(status) == 0 ? "" : fmt::format("exit status {}", WEXITSTATUS(status));
}
