// SPDX-License-Identifier: BSL-1.0
#pragma once
// The groups of calls that can be patched without the others: COIR_PATCH_ONLY=socket,dns. A file of calls belongs to
// one.
#include <string_view>

namespace coir {

constexpr const char* patched_groups_variable = "COIR_PATCH_ONLY";

struct call_group {
    std::string_view name;
    std::string_view files; ///< without `calls_` and `.cpp`, each between spaces
};

inline constexpr call_group call_groups[] = {
    {"socket", " descriptor io messages open replacement self_check socket splice "},
    {"stdio", " stdio_file stdio_read stdio_write "},
    {"poll", " poll "},
    {"time", " time "},
    {"dns", " hosts res resolve "},
    {"nss", " entries "},
    {"process", " fork process "},
    {"signal", " handler signal "},
    {"filelock", " file_lock "},
    {"disk", " sync "},
    {"ipc", " queue "},
    {"thread",
     " barrier c11 cancellation_points condition fiber_mutex fiber_threads fiber_threads_end key mutex once semaphore "
     "syscall thread "},
};

/// The bit of the group that a source file belongs to.
consteval unsigned group_of(std::string_view path)
{
    auto file = path.substr(path.rfind('/') + 1);
    file.remove_suffix(file.size() - file.rfind('.'));
    if (file.starts_with("calls_"))
        file.remove_prefix(6);
    unsigned bit = 1;
    for (const auto& group : call_groups) {
        for (auto at = group.files.find(file); at != group.files.npos; at = group.files.find(file, at + 1))
            if (group.files[at - 1] == ' ' && group.files[at + file.size()] == ' ')
                return bit;
        bit <<= 1;
    }
    throw "a file of calls that belongs to no group";
}

/// The bits of the groups named in a list with commas; 0 if one of them is unknown.
constexpr unsigned groups_in(std::string_view list) noexcept
{
    unsigned result = 0;
    for (;;) {
        const auto comma = list.find(',');
        unsigned bit = 1;
        bool found = false;
        for (const auto& group : call_groups) {
            if (group.name == list.substr(0, comma)) {
                result |= bit;
                found = true;
            }
            bit <<= 1;
        }
        if (!found)
            return 0;
        if (comma == list.npos)
            return result;
        list.remove_prefix(comma + 1);
    }
}

/// Those that are patched. Does not change once there are fibers.
extern constinit unsigned patched_groups;

} // namespace coir
