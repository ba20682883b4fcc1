// SPDX-License-Identifier: BSL-1.0
#pragma once
// What the dynamic linker is going to make of a program, read from its file.
#include <filesystem>
#include <optional>
#include <string>

namespace coir::launch {

/// As execvp(3) finds it. If there is none, `error` is ENOENT, or EACCES for one that may not be run.
struct found_program {
    std::filesystem::path path;
    int error = 0;
};
found_program find_program(const std::string& name);

/// Why a library preloaded into this program would not take effect; nothing if it does. Of a script, its interpreter is
/// looked at; `follows_exec` says whether what that runs in turn gets the library as well.
std::optional<std::string> why_not_preloadable(const std::filesystem::path& program, bool follows_exec);

} // namespace coir::launch
