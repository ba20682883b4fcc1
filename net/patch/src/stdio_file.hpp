// SPDX-License-Identifier: BSL-1.0
#pragma once
// FILEs on pipes, terminals and sockets. What stdio reads and writes inside of libc no symbol reaches, and its own lock
// belongs to the thread: a fiber must neither block in it nor suspend while it holds it. So a call in a fiber is made
// in steps of the genuine functions that need not wait, with the FILE's lock held for a step at a time:
//
//     take a turn at the FILE        fibers queue here, so that a line or a printf stays in one piece
//       lock, a step, unlock         what is in the buffer, or one read that poll has announced
//       wait for the descriptor      suspends; cancellation and deadlines end the call as an error of read would
//
// Where another thread holds the FILE's lock, or there is no way to make steps, the genuine call goes to a helper.
#include "blocking.hpp"

#include <coir/fiber.hpp>

#include <cstdio>

namespace coir {

/// Whether reading or writing it may have to wait in a way that a fiber need not. Not for wide characters, strings in
/// memory, and files.
bool may_wait(const FILE* file) noexcept;

/// The calling fiber's turn at a FILE. Suspends.
class stdio_turn {
public:
    explicit stdio_turn(FILE* file) noexcept;
    stdio_turn(const stdio_turn&) = delete;
    stdio_turn& operator=(const stdio_turn&) = delete;
    ~stdio_turn();

    FILE* file;
    fiber_id owner;
    stdio_turn* following = nullptr; ///< in the list of all turns
    bool again = false;              ///< this fiber has one already

private:
    bool try_take() noexcept;
};

/// The FILE's own lock for one step; false if another thread has it.
class stdio_lock {
public:
    explicit stdio_lock(FILE* file) noexcept : file_{::ftrylockfile(file) == 0 ? file : nullptr} {}
    stdio_lock(const stdio_lock&) = delete;
    stdio_lock& operator=(const stdio_lock&) = delete;
    ~stdio_lock()
    {
        if (file_)
            ::funlockfile(file_);
    }
    explicit operator bool() const noexcept { return file_ != nullptr; }

private:
    FILE* file_;
};

/// Whether the program has locked it itself, by flockfile on this thread: no helper could get in then.
bool locked_by_program(const FILE* file) noexcept;

enum class stdio_step : std::uint8_t {
    go_on,     ///< the next step does not wait
    fails,     ///< errno says why, and the FILE has its error flag
    elsewhere, ///< another thread has it
};

/// Suspends until there is something in the buffer to read; go_on at the end too, which the genuine call reports.
stdio_step wait_to_read(FILE* file) noexcept;

/// Suspends until `size` more bytes, no more than PIPE_BUF with what is in the buffer, can be written without waiting.
stdio_step wait_to_write(FILE* file, size_t size) noexcept;

size_t bytes_to_read(const FILE* file) noexcept;
/// In the buffer, not written yet.
size_t bytes_pending(const FILE* file) noexcept;

/// Suspends until what is in the buffer has been written, as fflush does.
int flush_in_fiber(FILE* file) noexcept;

} // namespace coir
