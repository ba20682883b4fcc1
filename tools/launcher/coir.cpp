// SPDX-License-Identifier: BSL-1.0
// `coir run PROGRAM`: runs an unmodified program with libcoir-patch before libc and its main as the first fiber. It
// sets the environment and becomes the program; the rest happens in net/patch/src/first_fiber.cpp.
#include "call_group.hpp"
#include "executable_file.hpp"
#include "launch_settings.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;

namespace {

constexpr int cannot_run = 126;
constexpr int not_found = 127;

constexpr const char* footer =
    "coir run [OPTIONS] [--] PROGRAM [ARGUMENT...]\n\n"
    "The program gets its arguments, environment, descriptors and signals as without coir, and its exit status is "
    "coir's.\n"
    "Exit status of coir itself, as of env(1): 125 if coir fails, 126 if PROGRAM cannot be run, or not with coir, 127 "
    "if "
    "there is none.\n";

struct options {
    std::string only;
    std::string main = "fiber";
    std::string threads = "os";
    bool children = false;
    std::vector<std::string> command;
};

int fail(int status, const std::string& what)
{
    std::cerr << "coir run: " << what << '\n';
    return status;
}

/// In the build tree beside the launcher's directory, or where it is installed, wherever the whole was moved to.
fs::path library(const std::string& name)
{
    const auto here = fs::read_symlink("/proc/self/exe").parent_path();
    for (const auto& directory :
         {here / ".." / ".." / "net" / "patch", here / fs::path{COIR_LIBDIR}.lexically_relative(COIR_BINDIR)})
        if (auto file = (directory / name).lexically_normal(); fs::exists(file))
            return file;
    throw std::runtime_error{name + " is not installed beside coir, which is in " + here.string()};
}

void set_environment(const options& chosen)
{
    using namespace coir::launch;
    auto preload = library("libcoir-run.so.0").string() + ':' + library("libcoir-patch.so.0").string();
    if (preload.find_first_of(" $") != std::string::npos || std::count(preload.begin(), preload.end(), ':') > 1)
        throw std::runtime_error{
            "the dynamic linker cannot preload from a directory with a blank, a colon or a $ in its "
            "name: " +
            preload};
    std::string settings;
    if (chosen.main == "fiber")
        settings += main_is_fiber;
    if (chosen.children)
        settings += children_too;
    if (chosen.threads == "fibers")
        settings += threads_are_fibers;
    settings += ':';
    if (const char* before = std::getenv("LD_PRELOAD")) {
        settings += std::string{"LD_PRELOAD="} + before;
        if (*before)
            preload += std::string{":"} + before;
    }
    ::setenv("LD_PRELOAD", preload.c_str(), 1);
    ::setenv(variable, settings.c_str(), 1);
    if (!chosen.only.empty())
        ::setenv(coir::patched_groups_variable, chosen.only.c_str(), 1);
}

int run(const options& chosen)
{
    using namespace coir::launch;
    const auto& name = chosen.command.front();
    const auto program = find_program(name);
    if (program.error)
        return fail(program.error == ENOENT || program.error == ENOTDIR ? not_found : cannot_run,
                    name + ": " + std::strerror(program.error));
    if (const auto reason = why_not_preloadable(program.path, chosen.children))
        return fail(cannot_run, *reason);
    set_environment(chosen);

    std::vector<char*> arguments;
    arguments.reserve(chosen.command.size() + 1);
    for (const auto& argument : chosen.command)
        arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    return fail(errno == ENOENT ? not_found : cannot_run, name + ": " + std::strerror(errno));
}

std::string check_groups(const std::string& list)
{
    if (coir::groups_in(list))
        return {};
    std::string names;
    for (const auto& group : coir::call_groups)
        names += ' ' + std::string{group.name};
    return "'" + list + "' is not a list of these, with commas:" + names;
}

/// Why they cannot be fibers, if they are to be.
std::string check_threads(const options& chosen)
{
    if (chosen.threads != "fibers")
        return {};
    if (chosen.main != "fiber")
        return "there is no hub for them with --main=thread";
    const auto patched = chosen.only.empty() ? ~0U : coir::groups_in(chosen.only);
    if (!(patched & coir::groups_in("thread")))
        return "they wait for locks, which --only=thread would patch";
    return {};
}

/// The index of PROGRAM, or of the `--` before it: what follows is none of our options.
int where_program_begins(int count, char** arguments)
{
    int i = 2; // after `run`
    const auto takes_a_value = [](const std::string& option) {
        return option == "--only" || option == "--main" || option == "--threads";
    };
    while (i < count && arguments[i][0] == '-' && std::strcmp(arguments[i], "--") != 0)
        i += takes_a_value(arguments[i]) ? 2 : 1;
    return std::min(i, count);
}

} // namespace

int main(int count, char** arguments)
{
    options chosen;
    CLI::App app{"coir: natural fibers for C++", "coir"};
    app.require_subcommand(1);
    app.set_version_flag("--version", COIR_VERSION);
    auto& command = *app.add_subcommand("run", "run an unmodified program with its main as the first fiber");
    command.footer(footer);
    command.add_option("--only", chosen.only, "patch these groups of calls, and leave the others to libc")
        ->type_name("GROUP,...")
        ->check(CLI::Validator{check_groups, ""});
    command
        .add_option("--main", chosen.main, "what the program's main is: thread for a program that starts fibers itself")
        ->check(CLI::IsMember({"fiber", "thread"}))
        ->capture_default_str();
    command
        .add_option("--threads", chosen.threads, "what the threads are that it starts: fibers beside main, all on one")
        ->check(CLI::IsMember({"os", "fibers"}))
        ->capture_default_str();
    command.add_flag("--children", chosen.children, "the programs that it runs, too; they see coir in the environment");
    try {
        const int program = where_program_begins(count, arguments);
        app.parse(program, arguments);
        chosen.command.assign(arguments + program, arguments + count);
        if (command.parsed() && !chosen.command.empty() && chosen.command.front() == "--")
            chosen.command.erase(chosen.command.begin());
        if (chosen.command.empty())
            throw CLI::RequiredError{"PROGRAM"};
        if (const auto why_not = check_threads(chosen); !why_not.empty())
            throw CLI::ValidationError{"--threads=fibers", why_not};
    } catch (const CLI::ParseError& failure) {
        return app.exit(failure) == 0 ? 0 : coir::launch::failure;
    }
    try {
        return run(chosen);
    } catch (const std::exception& failure) {
        return fail(coir::launch::failure, failure.what());
    }
}
