// SPDX-License-Identifier: BSL-1.0
#pragma once
// Transfers over sockets, in a fiber: each is tried with MSG_DONTWAIT, and what must be done whole is tried until it
// is.
#include <sys/socket.h>
#include <sys/types.h>

namespace coir {

/// As recvfrom, but not for MSG_PEEK with MSG_WAITALL.
ssize_t receive(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* from_size) noexcept;
ssize_t receive_message(int fd, msghdr* message, int flags) noexcept;
ssize_t send_all(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size) noexcept;
ssize_t send_message(int fd, const msghdr* message, int flags) noexcept;

} // namespace coir
