// SPDX-License-Identifier: BSL-1.0
#include "stdio_file.hpp"

#include "descriptor_kind.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "parking_lot.hpp"

#include <pthread.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <memory>
#include <mutex>

namespace coir {

namespace {

// Of _flags (glibc, libio/libio.h).
constexpr int unbuffered = 0x0002;
constexpr int no_reads = 0x0004;
constexpr int no_writes = 0x0008;
constexpr int end_seen = 0x0010;
constexpr int error_seen = 0x0020;
constexpr int line_buffered = 0x0200;

constinit spin_lock turns_guard;
constinit stdio_turn* turns = nullptr;

/// In a forked child there is only the fiber that called fork.
[[gnu::constructor]] void watch_forks() noexcept
{
    ::pthread_atfork(nullptr, nullptr, [] {
        std::construct_at(&turns_guard);
        auto** place = &turns;
        const auto survivor = this_fiber::get_id();
        while (*place)
            if ((*place)->owner == survivor)
                place = &(*place)->following;
            else
                *place = (*place)->following;
    });
}

/// Suspends until the descriptor is ready; false with errno, and the FILE's error flag, if that is cut off.
stdio_step wait_for(FILE* file, short events, direction way) noexcept
{
    pollfd one{.fd = file->_fileno, .events = events, .revents = 0};
    const int before = errno;
    blocked_call call{file->_fileno, way};
    while (libc.poll(&one, 1, 0) == 0)
        if (!call.wait()) {
            if (errno == EAGAIN) // the program has made it non-blocking: the genuine call is going to say so
                break;
            const stdio_lock held{file};
            if (held)
                file->_flags |= error_seen;
            return stdio_step::fails;
        }
    errno = before;
    return stdio_step::go_on;
}

} // namespace

bool may_wait(const FILE* file) noexcept
{
    if (file->_fileno < 0 || file->_mode > 0)
        return false;
    const auto kind = kind_of(file->_fileno);
    return kind != descriptor_kind::file && kind != descriptor_kind::unknown;
}

stdio_turn::stdio_turn(FILE* at) noexcept : file{at}, owner{this_fiber::get_id()}
{
    while (!try_take())
        parking_lot::park(file, {.reason = {"FILE", file}, .interruptible = false}, [&] {
            const std::lock_guard held{turns_guard};
            for (auto* each = turns; each; each = each->following)
                if (each->file == file)
                    return true;
            return false;
        });
}

bool stdio_turn::try_take() noexcept
{
    const std::lock_guard held{turns_guard};
    for (auto* each = turns; each; each = each->following)
        if (each->file == file)
            return again = each->owner == owner;
    following = std::exchange(turns, this);
    return true;
}

stdio_turn::~stdio_turn()
{
    if (again)
        return;
    {
        const std::lock_guard held{turns_guard};
        auto** place = &turns;
        while (*place != this)
            place = &(*place)->following;
        *place = following;
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    parking_lot::unpark(file, 1);
}

bool locked_by_program(const FILE* file) noexcept
{
    struct lock { // glibc, sysdeps/nptl/stdio-lock.h
        int word;
        int count;
        void* owner;
    };
    const auto* held = static_cast<const lock*>(file->_lock);
    return held && __atomic_load_n(&held->owner, __ATOMIC_RELAXED) == reinterpret_cast<void*>(::pthread_self());
}

size_t bytes_to_read(const FILE* file) noexcept
{
    return static_cast<size_t>(file->_IO_read_end - file->_IO_read_ptr);
}

size_t bytes_pending(const FILE* file) noexcept
{
    return static_cast<size_t>(file->_IO_write_ptr - file->_IO_write_base);
}

stdio_step wait_to_read(FILE* file) noexcept
{
    for (;;) {
        {
            const stdio_lock held{file};
            if (!held)
                return stdio_step::elsewhere;
            if (file->_flags & (no_reads | end_seen) && bytes_to_read(file) == 0)
                libc.underflow(file); // says so, and does not wait
            if (bytes_to_read(file) > 0 || file->_flags & (no_reads | end_seen))
                return stdio_step::go_on;
        }
        if (const auto step = wait_for(file, POLLIN, direction::read); step != stdio_step::go_on)
            return step;
        const stdio_lock held{file};
        if (!held)
            return stdio_step::elsewhere;
        const int before = errno;
        libc.underflow(file); // one read, and nothing taken
        if (bytes_to_read(file) > 0)
            errno = before;
        return stdio_step::go_on;
    }
}

namespace {

bool stays_in_buffer(const FILE* file, size_t size) noexcept
{
    if (file->_flags & (unbuffered | line_buffered))
        return false;
    if (!file->_IO_buf_base) { // not made yet. It will be a block's size, and for a terminal go by lines
        const int before = errno;
        const bool terminal = ::isatty(file->_fileno);
        errno = before;
        return size < 1024 && !terminal;
    }
    return file->_IO_write_end - file->_IO_write_ptr > static_cast<std::ptrdiff_t>(size);
}

} // namespace

stdio_step wait_to_write(FILE* file, size_t size) noexcept
{
    {
        const stdio_lock held{file};
        if (!held)
            return stdio_step::elsewhere;
        if (stays_in_buffer(file, size) || file->_flags & no_writes)
            return stdio_step::go_on;
    }
    return wait_for(file, POLLOUT, direction::write);
}

int flush_in_fiber(FILE* file) noexcept
{
    if (bytes_pending(file) == 0)
        return 0;
    if (locked_by_program(file))
        return libc.fflush(file);
    if (bytes_pending(file) > PIPE_BUF)
        return on_helper([&] { return libc.fflush(file); });
    switch (wait_for(file, POLLOUT, direction::write)) {
    case stdio_step::fails: return EOF;
    case stdio_step::elsewhere: return on_helper([&] { return libc.fflush(file); });
    case stdio_step::go_on: break;
    }
    {
        const stdio_lock held{file};
        if (held)
            return libc.fflush(file);
    }
    return on_helper([&] { return libc.fflush(file); });
}

} // namespace coir
