// SPDX-License-Identifier: BSL-1.0
#pragma once
// fetch runs every mode, and the server, in a process of its own: so what a mode costs is measured alone. Such a
// process is fetch itself with a hidden option, and two descriptors by which it and its parent speak:
//
//     fetch --measure MODE ...     first: the URLs, each ended by a null byte
//                                  second: takes a line per URL when it is done, "NUMBER BYTES ERROR", and at the end
//                                  "usage ..."
//     fetch --serve                first: a listening socket
//                                  second: ends when the parent has gone
#include "io.hpp"

#include <string>
#include <vector>

#include <sys/types.h>

/// Where a child finds its two descriptors.
inline constexpr int first_descriptor = 3;
inline constexpr int second_descriptor = 4;

/// A process that is fetch itself.
class process {
public:
    process(const std::vector<std::string>& arguments, const unique_fd& first, const unique_fd& second);
    process(const process&) = delete;
    process& operator=(const process&) = delete;
    /// Waits for it.
    ~process();

    pid_t id() const noexcept { return id_; }
    void kill() noexcept;
    /// Waits for it, and says how it ended: "" if with status 0, else "exit status 1", "Segmentation fault".
    std::string wait();

private:
    pid_t id_;
};
