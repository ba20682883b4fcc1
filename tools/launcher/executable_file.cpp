// SPDX-License-Identifier: BSL-1.0
#include "executable_file.hpp"

#include <elf.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace coir::launch {

namespace fs = std::filesystem;

namespace {

#if defined(__x86_64__)
constexpr int our_machine = EM_X86_64;
#elif defined(__aarch64__)
constexpr int our_machine = EM_AARCH64;
#else
#error "which machine is this, as in elf.h?"
#endif

/// 0, or why it may not be run.
int runnable(const fs::path& path) noexcept
{
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0)
        return errno;
    return S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0 ? 0 : EACCES;
}

/// The dynamic linker ignores LD_PRELOAD where a program gains rights that its caller has not (ld.so(8)).
bool gains_rights(const fs::path& path) noexcept
{
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0)
        return false;
    const bool other_user = (status.st_mode & S_ISUID) && status.st_uid != ::geteuid();
    const bool other_group = (status.st_mode & S_ISGID) && (status.st_mode & S_IXGRP) && status.st_gid != ::getegid();
    const bool capabilities = ::geteuid() != 0 && ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
    return other_user || other_group || capabilities;
}

std::optional<std::string> why_not_elf(const fs::path& path, std::ifstream& file)
{
    const auto name = path.string();
    Elf64_Ehdr header{};
    file.seekg(0);
    file.read(reinterpret_cast<char*>(&header), sizeof header);
    if (!file || header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != our_machine)
        return name + " is for another processor, or another size of pointers, than the libraries of coir";
    for (int i = 0; i < header.e_phnum; ++i) {
        Elf64_Phdr part{};
        file.seekg(static_cast<std::streamoff>(header.e_phoff + static_cast<std::size_t>(i) * header.e_phentsize));
        file.read(reinterpret_cast<char*>(&part), sizeof part);
        if (!file)
            break;
        if (part.p_type != PT_INTERP)
            continue;
        std::string linker(part.p_filesz, '\0');
        file.seekg(static_cast<std::streamoff>(part.p_offset));
        file.read(linker.data(), static_cast<std::streamsize>(linker.size()));
        linker.resize(std::strlen(linker.c_str()));
        if (fs::path{linker}.filename().string().starts_with("ld-linux"))
            return std::nullopt;
        return name + " does not use glibc: its dynamic linker is " + linker;
    }
    return name + " is statically linked: there is no call in it that could be replaced";
}

} // namespace

found_program find_program(const std::string& name)
{
    if (name.find('/') != std::string::npos)
        return {name, runnable(name)};
    const char* path = std::getenv("PATH");
    std::istringstream directories{path ? path : "/bin:/usr/bin"};
    int error = ENOENT;
    for (std::string directory; std::getline(directories, directory, ':');) {
        const auto candidate = fs::path{directory.empty() ? "." : directory} / name;
        const int reason = runnable(candidate);
        if (reason == 0)
            return {candidate, 0};
        if (reason == EACCES)
            error = EACCES;
    }
    return {name, error};
}

std::optional<std::string> why_not_preloadable(const fs::path& program, bool follows_exec)
{
    auto path = program;
    for (int depth = 0; depth < 5; ++depth) { // as many as the kernel follows
        if (gains_rights(path))
            return path.string() +
                   " runs with rights that you do not have: the dynamic linker preloads nothing into it";
        std::ifstream file{path, std::ios::binary};
        char magic[SELFMAG]{};
        if (!file.read(magic, sizeof magic))
            return std::nullopt; // may be run but not read, or is very short; let exec decide
        if (std::memcmp(magic, ELFMAG, SELFMAG) == 0)
            return why_not_elf(path, file);
        if (magic[0] != '#' || magic[1] != '!')
            return std::nullopt; // a script for /bin/sh
        file.seekg(2);
        std::string line;
        std::getline(file, line);
        std::string interpreter;
        std::istringstream{line} >> interpreter;
        const fs::path next{interpreter};
        if (next.filename() == "env" && !follows_exec)
            return path.string() + " is run by env, which runs another program in turn: --children makes that go along";
        path = next;
    }
    return std::nullopt;
}

} // namespace coir::launch
