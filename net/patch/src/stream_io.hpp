// SPDX-License-Identifier: BSL-1.0
#pragma once
// Reading and writing what is not a socket, in a fiber: pipes, terminals, event and timer descriptors.
#include <sys/types.h>
#include <sys/uio.h>

namespace coir {

/// Suspends until there is something, as readv does.
ssize_t read_stream(int fd, const iovec* parts, int count) noexcept;
/// Suspends until all is written, as writev does.
ssize_t write_stream(int fd, const iovec* parts, int count) noexcept;

} // namespace coir
