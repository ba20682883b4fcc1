// SPDX-License-Identifier: BSL-1.0
#pragma once
// What the kernel has said of a socket when a read or an accept last had to wait: that the program has not set
// O_NONBLOCK and no SO_RCVTIMEO, and whether it is TCP. The next one that has to wait begins with that, and the kernel
// is asked again only if the wait lasts. A connection begins with the answer of its listener, whose SO_RCVTIMEO it has:
//
//     a call of this process that changes a flag or a time-out, of whatever descriptor      nothing counts any more
//     a number that is closed                                                               its own does not
//     another process, or a system call that no symbol shows                                the answer is checked
//                                                          within 40 ms of a wait; if it is wrong, the reader wakes,
//                                                          tries again, and asks
//
// So busy connections cost no questions, and what is out of our sight is late by 40 ms at most.
#include "descriptor_kind.hpp"

#include <atomic>
#include <cstdint>

namespace coir {

/// Another answer may be right from now on. Any thread.
void forget_socket_answers() noexcept;
void forget_socket_answers(unsigned first, unsigned last) noexcept;

/// Some program reads its sockets in records (TCP_ULP): a short read need not have emptied one.
inline constinit std::atomic<bool> records_in_use{false};

enum class socket_answer : std::uint8_t {
    none,
    wrong, ///< found out while a fiber waited
    waits, ///< it blocks, without a time limit
    tcp,   ///< so does it, and a short read has emptied it
    listens,
    listens_tcp,
};

// For each number: the epoch in which it was answered and two bits, or one of the first two.
inline constexpr std::uint64_t no_answer = 0;
inline constexpr std::uint64_t wrong_answer = 1;
inline constexpr std::uint64_t answer_tcp = 1;
inline constexpr std::uint64_t answer_listens = 2;
extern std::uint64_t socket_answers[remembered_kinds]; ///< through answer_of
extern constinit std::atomic<std::uint64_t> socket_epoch;

inline std::atomic_ref<std::uint64_t> answer_of(int socket) noexcept
{
    return std::atomic_ref{socket_answers[socket]};
}

inline socket_answer answer_for(int socket) noexcept
{
    if (static_cast<unsigned>(socket) >= remembered_kinds) [[unlikely]]
        return socket_answer::none;
    const auto answer = answer_of(socket).load(std::memory_order_relaxed);
    if (answer >> 2 == socket_epoch.load(std::memory_order_acquire)) [[likely]]
        return static_cast<socket_answer>(static_cast<std::uint64_t>(socket_answer::waits) + (answer & 3));
    return answer == wrong_answer ? socket_answer::wrong : socket_answer::none;
}

/// Between the questions and `remember`, what has been forgotten in the meantime stays so.
std::uint64_t asking_socket() noexcept;
/// After the kernel has said that a read of it waits, and without a limit.
void remember_socket(int socket, std::uint64_t asked) noexcept;

/// After an accept: what is known of the listener holds for the connection, but that it is not `nonblocking` itself.
void remember_accepted(int listener, int connection, bool nonblocking) noexcept;

/// Has the answer checked while the caller, a fiber, waits. False: there is no memory for that, so ask at once.
bool check_socket_later(int socket) noexcept;

} // namespace coir
