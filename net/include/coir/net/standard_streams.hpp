// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/pipe.hpp>

namespace coir::net {

/// The process's standard streams, whatever they are: a terminal, a pipe, a file. Other processes share them, such as
/// the shell; so they never get O_NONBLOCK. A terminal is opened a second time, where that is allowed, and only this
/// opening has the flag; else it is polled before each call, and a write to a terminal that is held up may block the
/// thread.
///
/// Each call gives a new owner, of a descriptor of its own: closing it does not close the process's. Nothing is
/// buffered: use them with buffered_reader and buffered_writer, and not together with std::cin and std::cout. Never
/// suspend. Throw std::system_error.
///
///     auto input = coir::net::standard_input();
///     coir::net::buffered_reader lines{input};
///     while (auto line = lines.read_line()) ...
pipe_reader standard_input();
pipe_writer standard_output();
pipe_writer standard_error();

} // namespace coir::net
