// SPDX-License-Identifier: BSL-1.0
#include "spawn.hpp"

#include <spawn.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace coir::net {

namespace {

constexpr std::array<const char*, 3> stream_names{"standard input", "standard output", "standard error"};

[[noreturn]] void fail(int error, const std::string& what)
{
    throw std::system_error{error, std::generic_category(), "coir::net::process: " + what};
}

void check(int error)
{
    if (error != 0)
        fail(error, "posix_spawn");
}

/// Above the standard streams, where dup2 to one of those cannot hit it.
unique_fd raised(unique_fd descriptor, const char* what)
{
    if (descriptor.get() > STDERR_FILENO)
        return descriptor;
    const int above = ::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (above < 0)
        fail(errno, what);
    return unique_fd{above};
}

struct file_actions {
    posix_spawn_file_actions_t list;

    file_actions() { check(::posix_spawn_file_actions_init(&list)); }
    file_actions(const file_actions&) = delete;
    file_actions& operator=(const file_actions&) = delete;
    ~file_actions() { ::posix_spawn_file_actions_destroy(&list); }
};

struct attributes {
    posix_spawnattr_t value;

    explicit attributes(bool own_group)
    {
        check(::posix_spawnattr_init(&value));
        sigset_t signals;
        ::sigfillset(&signals);
        check(::posix_spawnattr_setsigdefault(&value, &signals));
        ::sigemptyset(&signals);
        check(::posix_spawnattr_setsigmask(&value, &signals));
        int flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
        if (own_group) {
            flags |= POSIX_SPAWN_SETPGROUP;
            check(::posix_spawnattr_setpgroup(&value, 0));
        }
        check(::posix_spawnattr_setflags(&value, static_cast<short>(flags)));
    }
    attributes(const attributes&) = delete;
    attributes& operator=(const attributes&) = delete;
    ~attributes() { ::posix_spawnattr_destroy(&value); }
};

/// As execve wants them. The strings must stay.
std::vector<char*> pointers(const std::vector<std::string>& strings)
{
    std::vector<char*> result;
    result.reserve(strings.size() + 1);
    for (const auto& each : strings) {
        if (each.find('\0') != std::string::npos)
            throw std::invalid_argument{"coir::net::process: a null byte in \"" + each + '"'};
        result.push_back(const_cast<char*>(each.c_str()));
    }
    result.push_back(nullptr);
    return result;
}

} // namespace

child_streams::child_streams(const process_options& options)
{
    open(0, options.in);
    open(1, options.out);
    open(2, options.err);
}

void child_streams::open(std::size_t number, const child_io& where)
{
    const bool reads = number == 0;
    const auto give = [&](unique_fd descriptor) {
        theirs_[number] = raised(std::move(descriptor), stream_names[number]);
        sources_[number] = theirs_[number].get();
    };
    switch (where.kind_) {
    case child_io::kind::inherit: break;
    case child_io::kind::pipe: {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0)
            fail(errno, stream_names[number]);
        unique_fd read_end{ends[0]};
        unique_fd write_end{ends[1]};
        ours_[number] = std::move(reads ? write_end : read_end);
        give(std::move(reads ? read_end : write_end));
        break;
    }
    case child_io::kind::file:
    case child_io::kind::append: {
        const int how =
            reads ? O_RDONLY : O_WRONLY | O_CREAT | (where.kind_ == child_io::kind::append ? O_APPEND : O_TRUNC);
        unique_fd file{::open(where.path_.c_str(), how | O_CLOEXEC | O_NOCTTY, 0666)};
        if (!file)
            fail(errno, where.path_);
        give(std::move(file));
        break;
    }
    case child_io::kind::descriptor: {
        const int above = ::fcntl(where.descriptor_, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (above < 0)
            fail(errno, std::string{stream_names[number]} + ", descriptor " + std::to_string(where.descriptor_));
        give(unique_fd{above});
        break;
    }
    case child_io::kind::output:
        if (number != 2)
            throw std::invalid_argument{"coir::net::process: child_io::output() is for the standard error"};
        sources_[2] = sources_[1];
        break;
    }
}

pid_t spawn_child(const std::vector<std::string>& arguments, const process_options& options,
                  const child_streams& streams)
{
    if (arguments.empty())
        throw std::invalid_argument{"coir::net::process: no program"};
    const auto argv = pointers(arguments);
    std::vector<char*> environment;
    if (options.environment)
        environment = pointers(*options.environment);

    file_actions actions;
    unique_fd directory;
    if (!options.directory.empty()) {
        // Opened here, so that it is known which of the two does not exist.
        directory = unique_fd{::open(options.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (!directory)
            fail(errno, options.directory);
        check(::posix_spawn_file_actions_addfchdir_np(&actions.list, directory.get()));
    }
    for (int number = 0; number < 3; ++number)
        if (const int source = streams.source(static_cast<std::size_t>(number)); source != number)
            check(::posix_spawn_file_actions_adddup2(&actions.list, source, number));
    check(::posix_spawn_file_actions_addclosefrom_np(&actions.list, STDERR_FILENO + 1));

    const attributes how{options.own_group};
    pid_t child = -1;
    if (const int error = ::posix_spawnp(&child, argv.front(), &actions.list, &how.value, argv.data(),
                                         options.environment ? environment.data() : environ))
        fail(error, arguments.front());
    return child;
}

} // namespace coir::net
