// SPDX-License-Identifier: BSL-1.0
#pragma once
// Transfers over sockets, in a fiber: each is tried with MSG_DONTWAIT, and what must be done whole is tried until it
// is.
#include <sys/socket.h>
#include <sys/types.h>

#include <atomic>

namespace coir {

/// Whether SO_RCVLOWAT has been set on any socket: before that, no call asks for it.
inline constinit std::atomic<bool> low_water_in_use{false};

bool is_stream_socket(int fd) noexcept;

/// Peeking until there is more than something: the kernel cannot be asked for that and not to block at once.
bool peeks_for_more(int fd, int flags) noexcept;

/// SIGPIPE belongs to the first try: a blocking send that has sent something reports that, and the error next time.
int send_flags(int flags, size_t done) noexcept;

/// As recvfrom, but not where it peeks for more.
ssize_t receive(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* from_size) noexcept;
ssize_t receive_message(int fd, msghdr* message, int flags) noexcept;
ssize_t send_all(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size) noexcept;
ssize_t send_message(int fd, const msghdr* message, int flags) noexcept;

} // namespace coir
