// SPDX-License-Identifier: BSL-1.0
#pragma once
// Starting a child: where its streams lead, and posix_spawn.
#include <coir/net/process.hpp>
#include <coir/net/unique_fd.hpp>

#include <array>
#include <cstddef>

namespace coir::net {

/// What a child gets for its three standard streams, and our ends of its pipes.
class child_streams {
public:
    /// Opens files and makes pipes. Throws std::system_error.
    explicit child_streams(const process_options& options);

    /// The descriptor of ours that becomes the child's standard stream `number`; `number` itself if it keeps ours.
    int source(std::size_t number) const noexcept { return sources_[number]; }
    unique_fd take_pipe(std::size_t number) noexcept { return std::move(ours_[number]); }

private:
    void open(std::size_t number, const child_io& where);

    std::array<int, 3> sources_{0, 1, 2};
    std::array<unique_fd, 3> theirs_; ///< what has been opened for the child
    std::array<unique_fd, 3> ours_;
};

/// Starts the program and returns its number. Throws std::system_error, std::invalid_argument.
pid_t spawn_child(const std::vector<std::string>& arguments, const process_options& options,
                  const child_streams& streams);

} // namespace coir::net
