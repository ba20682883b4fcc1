// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/descriptor.hpp>
#include <coir/net/stream.hpp>

#include <cstdint>

namespace coir::net {

/// How a descriptor that is not a socket can be tried without blocking, and without setting O_NONBLOCK, which whoever
/// shares the open file would see.
enum class attempt_kind : std::uint8_t {
    nowait,   ///< RWF_NOWAIT: pipes
    pollable, ///< poll, then call: terminals, and pipes of older kernels
    plain,    ///< just call: regular files, which never wait, and what has O_NONBLOCK of its own
};

/// The end of a pipe that is read from; any other descriptor that can be read, too: a terminal, a FIFO, an event or
/// timer descriptor, a file. Its flags are left alone.
class pipe_reader : public descriptor, public readable_stream<pipe_reader> {
public:
    pipe_reader() noexcept = default;
    explicit pipe_reader(unique_fd readable) noexcept;
    pipe_reader(unique_fd readable, attempt_kind kind) noexcept : descriptor{std::move(readable)}, kind_{kind} {}
    [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

    // For readable_stream.
    std::size_t read_parts(std::span<const iovec> into, error_code& ec);

private:
    attempt_kind kind_ = attempt_kind::nowait;
};

/// The end that is written to. A write to a pipe that nobody reads any more fails with error::broken_pipe; the SIGPIPE
/// is kept back.
class pipe_writer : public descriptor, public writable_stream<pipe_writer> {
public:
    pipe_writer() noexcept = default;
    explicit pipe_writer(unique_fd writable) noexcept;
    pipe_writer(unique_fd writable, attempt_kind kind) noexcept : descriptor{std::move(writable)}, kind_{kind} {}
    [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

    // For writable_stream.
    std::size_t write_parts(std::span<const iovec> from, error_code& ec);

private:
    attempt_kind kind_ = attempt_kind::nowait;
};

/// Both ends of a new pipe, close-on-exec. Never suspends. Throws std::system_error.
///
///     auto [reader, writer] = coir::net::make_pipe();
struct pipe_ends {
    pipe_reader reader;
    pipe_writer writer;
};
pipe_ends make_pipe();

} // namespace coir::net
