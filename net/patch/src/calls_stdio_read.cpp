// SPDX-License-Identifier: BSL-1.0
// Reading FILEs: fread, fgets, getline, getc and scanf, in their many spellings. stdio_file.hpp says how.
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "stdio_file.hpp"

#include <algorithm>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

namespace coir {

namespace {

// What may call the genuine function on a plain thread is not noexcept: pthread_cancel unwinds through it.

bool ours(FILE* file) noexcept
{
    return !outside() && may_wait(file) && !locked_by_program(file);
}

constexpr int error_seen = 0x0020; // glibc, libio/libio.h

/// Takes flags away from a FILE, and returns which of them it had.
int take_flags(FILE* file, int flags) noexcept
{
    const stdio_lock held{file};
    if (!held)
        return 0;
    const int had = file->_flags & flags;
    file->_flags &= ~flags;
    return had;
}

void add_flags(FILE* file, int flags) noexcept
{
    if (flags == 0)
        return;
    const stdio_lock held{file};
    if (held)
        file->_flags |= flags;
}

struct taken {
    size_t bytes;
    bool more; ///< whether more is wanted
};

/// Calls `take(bytes, size)` for what is in the buffer until it wants no more, or the file or the waiting ends. False
/// if another thread is using the FILE and the rest must be left to it.
template <class Take> bool take_from(FILE* file, Take&& take) noexcept
{
    constexpr int ended = 0x0034; // not readable, at the end, or with an error (glibc, libio/libio.h)
    for (bool more = true; more;) {
        switch (wait_to_read(file)) {
        case stdio_step::fails: return true;
        case stdio_step::elsewhere: return false;
        case stdio_step::go_on: break;
        }
        const stdio_lock held{file};
        if (!held)
            return false;
        const auto size = bytes_to_read(file);
        if (size == 0 && file->_flags & ended)
            return true;
        if (size > 0) { // else another thread has been faster
            const taken part = take(file->_IO_read_ptr, size);
            file->_IO_read_ptr += part.bytes;
            more = part.more;
        }
    }
    return true;
}

int get_character(FILE* file)
{
    if (!ours(file))
        return libc.getc(file);
    const stdio_turn turn{file};
    int result = EOF;
    const bool done = take_from(file, [&](const char* bytes, size_t) {
        result = static_cast<unsigned char>(*bytes);
        return taken{1, false};
    });
    return done ? result : on_helper([&] { return libc.getc(file); });
}

size_t read_items(void* data, size_t item, size_t count, FILE* file)
{
    const size_t wanted = item * count;
    if (wanted == 0 || !ours(file))
        return libc.fread(data, item, count, file);
    const stdio_turn turn{file};
    size_t done = 0;
    const bool finished = take_from(file, [&](const char* bytes, size_t size) {
        const auto part = std::min(size, wanted - done);
        std::memcpy(static_cast<char*>(data) + done, bytes, part);
        done += part;
        return taken{part, done < wanted};
    });
    if (!finished)
        done += on_helper([&] { return libc.fread(static_cast<char*>(data) + done, 1, wanted - done, file); });
    return done == wanted ? count : done / item;
}

char* read_line(char* line, int room, FILE* file)
{
    if (room <= 1 || !ours(file))
        return libc.fgets(line, room, file);
    const stdio_turn turn{file};
    const int old_error = take_flags(file, error_seen);
    const auto most = static_cast<size_t>(room) - 1;
    size_t done = 0;
    bool complete = false;
    const bool finished = take_from(file, [&](const char* bytes, size_t size) {
        auto part = std::min(size, most - done);
        if (const void* end = std::memchr(bytes, '\n', part)) {
            part = static_cast<size_t>(static_cast<const char*>(end) - bytes) + 1;
            complete = true;
        }
        std::memcpy(line + done, bytes, part);
        done += part;
        complete |= done == most;
        return taken{part, !complete};
    });
    const bool failed = (file->_flags & error_seen) && errno != EAGAIN;
    add_flags(file, old_error);
    if (!finished) {
        char* const more = on_helper([&] { return libc.fgets(line + done, room - static_cast<int>(done), file); });
        if (!more)
            line[done] = '\0';
        return more || done > 0 ? line : nullptr;
    }
    if (done == 0 || (failed && !complete))
        return nullptr;
    line[done] = '\0';
    return line;
}

bool make_room(char** line, size_t* room, size_t needed) noexcept
{
    if (*line && needed <= *room)
        return true;
    needed = std::max({needed, *line ? 2 * *room : 0, size_t{120}});
    auto* const larger = static_cast<char*>(std::realloc(*line, needed));
    if (!larger)
        return false;
    *line = larger;
    *room = needed;
    return true;
}

ssize_t read_until(char** line, size_t* room, int delimiter, FILE* file)
{
    if (!line || !room || !ours(file))
        return libc.getdelim(line, room, delimiter, file);
    const stdio_turn turn{file};
    if (*room == 0) // what the pointer is then does not matter (getline(3))
        *line = nullptr;
    size_t done = 0;
    bool no_memory = false;
    const bool finished = take_from(file, [&](const char* bytes, size_t size) {
        auto part = size;
        const void* const end = std::memchr(bytes, delimiter, size);
        if (end)
            part = static_cast<size_t>(static_cast<const char*>(end) - bytes) + 1;
        if (!make_room(line, room, done + part + 1)) {
            no_memory = true;
            return taken{0, false};
        }
        std::memcpy(*line + done, bytes, part);
        done += part;
        return taken{part, !end};
    });
    if (no_memory)
        return -1;
    if (!finished) {
        if (done == 0)
            return on_helper([&] { return libc.getdelim(line, room, delimiter, file); });
        char* rest = nullptr;
        size_t rest_room = 0;
        const auto more = on_helper([&] { return libc.getdelim(&rest, &rest_room, delimiter, file); });
        if (more > 0 && make_room(line, room, done + static_cast<size_t>(more) + 1)) {
            std::memcpy(*line + done, rest, static_cast<size_t>(more));
            done += static_cast<size_t>(more);
        }
        std::free(rest);
    }
    if (done == 0 || !*line)
        return -1;
    (*line)[done] = '\0';
    return static_cast<ssize_t>(done);
}

/// `genuine` reads as it goes, and there is no making steps of it: it waits here for its first byte, and for others on
/// a helper.
template <class Genuine> int scan(FILE* file, Genuine&& genuine)
{
    if (!ours(file))
        return genuine();
    const stdio_turn turn{file};
    if (wait_to_read(file) == stdio_step::fails)
        return EOF;
    return on_helper(genuine);
}

} // namespace

COIR_INTERPOSE int fgetc(FILE* file)
{
    return get_character(file);
}
COIR_INTERPOSE int(getc)(FILE* file)
{
    return get_character(file);
}
COIR_INTERPOSE int(fgetc_unlocked)(FILE* file)
{
    return get_character(file);
}
COIR_INTERPOSE int(getc_unlocked)(FILE* file)
{
    return get_character(file);
}
COIR_INTERPOSE int(getchar)()
{
    return get_character(stdin);
}
COIR_INTERPOSE int(getchar_unlocked)()
{
    return get_character(stdin);
}
/// What the inlined getc_unlocked calls when the buffer is empty.
COIR_INTERPOSE int __uflow(FILE* file)
{
    return ours(file) ? get_character(file) : libc.uflow(file);
}

COIR_INTERPOSE size_t fread(void* data, size_t item, size_t count, FILE* file)
{
    return read_items(data, item, count, file);
}
COIR_INTERPOSE size_t(fread_unlocked)(void* data, size_t item, size_t count, FILE* file)
{
    return read_items(data, item, count, file);
}
COIR_INTERPOSE size_t __fread_chk(void* data, size_t room, size_t item, size_t count, FILE* file)
{
    size_t size;
    if (__builtin_mul_overflow(item, count, &size) || size > room)
        return libc.fread_chk(data, room, item, count, file);
    return read_items(data, item, count, file);
}
COIR_INTERPOSE size_t __fread_unlocked_chk(void* data, size_t room, size_t item, size_t count, FILE* file)
{
    return coir::__fread_chk(data, room, item, count, file);
}

COIR_INTERPOSE char* fgets(char* line, int room, FILE* file)
{
    return read_line(line, room, file);
}
COIR_INTERPOSE char* fgets_unlocked(char* line, int room, FILE* file)
{
    return read_line(line, room, file);
}
COIR_INTERPOSE char* __fgets_chk(char* line, size_t size, int room, FILE* file)
{
    return room > 0 && static_cast<size_t>(room) > size ? libc.fgets_chk(line, size, room, file)
                                                        : read_line(line, room, file);
}
COIR_INTERPOSE char* __fgets_unlocked_chk(char* line, size_t size, int room, FILE* file)
{
    return coir::__fgets_chk(line, size, room, file);
}

COIR_INTERPOSE ssize_t getdelim(char** line, size_t* room, int delimiter, FILE* file)
{
    return read_until(line, room, delimiter, file);
}
COIR_INTERPOSE ssize_t __getdelim(char** line, size_t* room, int delimiter, FILE* file)
{
    return read_until(line, room, delimiter, file);
}
COIR_INTERPOSE ssize_t(getline)(char** line, size_t* room, FILE* file)
{
    return read_until(line, room, '\n', file);
}

// scanf. What is compiled for C99 or later calls the names with isoc99; for that <cstdio> gives the plain ones that
// symbol, so here they are spelt out.

COIR_INTERPOSE int plain_vfscanf(FILE* file, const char* format, std::va_list arguments) __asm__("vfscanf");
COIR_INTERPOSE int plain_vscanf(const char* format, std::va_list arguments) __asm__("vscanf");
COIR_INTERPOSE int plain_fscanf(FILE* file, const char* format, ...) __asm__("fscanf");
COIR_INTERPOSE int plain_scanf(const char* format, ...) __asm__("scanf");

COIR_INTERPOSE int plain_vfscanf(FILE* file, const char* format, std::va_list arguments)
{
    return scan(file, [&] { return libc.vfscanf(file, format, arguments); });
}
COIR_INTERPOSE int __isoc99_vfscanf(FILE* file, const char* format, std::va_list arguments)
{
    return scan(file, [&] { return libc.isoc99_vfscanf(file, format, arguments); });
}
COIR_INTERPOSE int plain_vscanf(const char* format, std::va_list arguments)
{
    return plain_vfscanf(stdin, format, arguments);
}
COIR_INTERPOSE int __isoc99_vscanf(const char* format, std::va_list arguments)
{
    return __isoc99_vfscanf(stdin, format, arguments);
}
COIR_INTERPOSE int plain_fscanf(FILE* file, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = plain_vfscanf(file, format, arguments);
    va_end(arguments);
    return result;
}
COIR_INTERPOSE int __isoc99_fscanf(FILE* file, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = __isoc99_vfscanf(file, format, arguments);
    va_end(arguments);
    return result;
}
COIR_INTERPOSE int plain_scanf(const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = plain_vfscanf(stdin, format, arguments);
    va_end(arguments);
    return result;
}
COIR_INTERPOSE int __isoc99_scanf(const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = __isoc99_vfscanf(stdin, format, arguments);
    va_end(arguments);
    return result;
}

/// Opens the terminal, changes its settings and reads, all within libc.
COIR_INTERPOSE char* getpass(const char* prompt)
{
    return outside() ? libc.getpass(prompt) : on_helper([&] { return libc.getpass(prompt); });
}

} // namespace coir
