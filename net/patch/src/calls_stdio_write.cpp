// SPDX-License-Identifier: BSL-1.0
// Writing FILEs: fwrite, fputs, putc and printf, in their many spellings, and fflush. stdio_file.hpp says how. Writing
// waits only where the buffer has to be written and the reader is slow.
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "stdio_file.hpp"

#include <algorithm>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unistd.h>

namespace coir {

namespace {

bool ours(FILE* file) noexcept
{
    return !outside() && may_wait(file) && !locked_by_program(file);
}

/// Returns how many bytes were taken, less than all after an error.
size_t write_bytes(FILE* file, const char* data, size_t size) noexcept
{
    size_t done = 0;
    while (done < size) {
        const auto pending = bytes_pending(file);
        const auto step_size = pending < PIPE_BUF ? std::min(size - done, PIPE_BUF - pending) : 0;
        if (step_size == 0) { // a large buffer that is full
            if (flush_in_fiber(file) != 0)
                return done;
            continue;
        }
        auto step = wait_to_write(file, step_size);
        if (step == stdio_step::fails)
            return done;
        size_t written = 0;
        if (step == stdio_step::go_on) {
            const stdio_lock held{file};
            if (held)
                written = libc.fwrite(data + done, 1, step_size, file);
            else
                step = stdio_step::elsewhere;
        }
        if (step == stdio_step::elsewhere)
            return done + on_helper([&] { return libc.fwrite(data + done, 1, size - done, file); });
        done += written;
        if (written < step_size)
            return done;
    }
    return done;
}

size_t write_items(const void* data, size_t item, size_t count, FILE* file)
{
    const size_t size = item * count;
    if (size == 0 || !ours(file))
        return libc.fwrite(data, item, count, file);
    const stdio_turn turn{file};
    const size_t done = write_bytes(file, static_cast<const char*>(data), size);
    return done == size ? count : done / item;
}

int put_character(int character, FILE* file)
{
    if (!ours(file))
        return libc.putc(character, file);
    const stdio_turn turn{file};
    const auto byte = static_cast<char>(character);
    return write_bytes(file, &byte, 1) == 1 ? static_cast<unsigned char>(byte) : EOF;
}

int put_string(const char* string, FILE* file)
{
    if (!ours(file))
        return libc.fputs(string, file);
    const stdio_turn turn{file};
    const auto size = std::strlen(string);
    return write_bytes(file, string, size) == size ? 1 : EOF;
}

// ---- printf ---------------------------------------------------------------------------------------------------------

/// Formatted text: in place if it is short.
class formatted {
public:
    /// `format(buffer, size)` is vsnprintf.
    template <class Format> explicit formatted(const Format& format) noexcept
    {
        size_ = format(short_, sizeof short_);
        if (size_ < static_cast<int>(sizeof short_))
            return;
        const auto room = static_cast<size_t>(size_) + 1;
        long_.reset(static_cast<char*>(std::malloc(room)));
        if (long_)
            size_ = format(long_.get(), room);
        else
            size_ = -1;
    }
    const char* data() const noexcept { return long_ ? long_.get() : short_; }
    int size() const noexcept { return size_; } ///< negative after an error

private:
    struct release {
        void operator()(char* text) const noexcept { std::free(text); }
    };
    char short_[512];
    std::unique_ptr<char, release> long_;
    int size_;
};

formatted format_text(const char* format, std::va_list arguments) noexcept
{
    return formatted{[&](char* room, size_t size) {
        std::va_list copy;
        va_copy(copy, arguments);
        const int result = ::vsnprintf(room, size, format, copy);
        va_end(copy);
        return result;
    }};
}

/// The same with glibc's checks for what _FORTIFY_SOURCE forbids, such as %n in memory that can be written.
formatted format_text_checked(int flag, const char* format, std::va_list arguments) noexcept
{
    return formatted{[&](char* room, size_t size) {
        std::va_list copy;
        va_copy(copy, arguments);
        const int result = libc.vsnprintf_chk(room, size, flag, size, format, copy);
        va_end(copy);
        return result;
    }};
}

int print(FILE* file, const formatted& text) noexcept
{
    if (text.size() <= 0)
        return text.size();
    const stdio_turn turn{file};
    const auto size = static_cast<size_t>(text.size());
    return write_bytes(file, text.data(), size) == size ? text.size() : -1;
}

int print_to_descriptor(int fd, const formatted& text) noexcept
{
    if (text.size() <= 0)
        return text.size();
    return ::write(fd, text.data(), static_cast<size_t>(text.size())) == text.size() ? text.size() : -1;
}

} // namespace

COIR_INTERPOSE size_t fwrite(const void* data, size_t item, size_t count, FILE* file)
{
    return write_items(data, item, count, file);
}
COIR_INTERPOSE size_t(fwrite_unlocked)(const void* data, size_t item, size_t count, FILE* file)
{
    return write_items(data, item, count, file);
}
COIR_INTERPOSE int fputs(const char* string, FILE* file)
{
    return put_string(string, file);
}
COIR_INTERPOSE int fputs_unlocked(const char* string, FILE* file)
{
    return put_string(string, file);
}
COIR_INTERPOSE int puts(const char* string)
{
    if (!ours(stdout))
        return libc.puts(string);
    const stdio_turn turn{stdout};
    const auto size = std::strlen(string);
    if (write_bytes(stdout, string, size) != size || write_bytes(stdout, "\n", 1) != 1)
        return EOF;
    return static_cast<int>(std::min<size_t>(size + 1, INT_MAX));
}
COIR_INTERPOSE int fputc(int character, FILE* file)
{
    return put_character(character, file);
}
COIR_INTERPOSE int(putc)(int character, FILE* file)
{
    return put_character(character, file);
}
COIR_INTERPOSE int(fputc_unlocked)(int character, FILE* file)
{
    return put_character(character, file);
}
COIR_INTERPOSE int(putc_unlocked)(int character, FILE* file)
{
    return put_character(character, file);
}
COIR_INTERPOSE int(putchar)(int character)
{
    return put_character(character, stdout);
}
COIR_INTERPOSE int(putchar_unlocked)(int character)
{
    return put_character(character, stdout);
}
/// What the inlined putc_unlocked calls when the buffer is full.
COIR_INTERPOSE int __overflow(FILE* file, int character)
{
    return character != EOF && ours(file) ? put_character(character, file) : libc.overflow(file, character);
}

COIR_INTERPOSE int fflush(FILE* file)
{
    if (outside())
        return libc.fflush(file);
    if (!file) // all of them; any may wait
        return on_helper([&] { return libc.fflush(nullptr); });
    if (!ours(file))
        return libc.fflush(file);
    const stdio_turn turn{file};
    return flush_in_fiber(file);
}
COIR_INTERPOSE int fflush_unlocked(FILE* file)
{
    return coir::fflush(file);
}

COIR_INTERPOSE int vfprintf(FILE* file, const char* format, std::va_list arguments)
{
    return ours(file) ? print(file, format_text(format, arguments)) : libc.vfprintf(file, format, arguments);
}
COIR_INTERPOSE int __vfprintf_chk(FILE* file, int flag, const char* format, std::va_list arguments)
{
    return ours(file) ? print(file, format_text_checked(flag, format, arguments))
                      : libc.vfprintf_chk(file, flag, format, arguments);
}
COIR_INTERPOSE int(vprintf)(const char* format, std::va_list arguments)
{
    return coir::vfprintf(stdout, format, arguments);
}
COIR_INTERPOSE int __vprintf_chk(int flag, const char* format, std::va_list arguments)
{
    return coir::__vfprintf_chk(stdout, flag, format, arguments);
}
COIR_INTERPOSE int fprintf(FILE* file, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = coir::vfprintf(file, format, arguments);
    va_end(arguments);
    return result;
}
COIR_INTERPOSE int __fprintf_chk(FILE* file, int flag, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = coir::__vfprintf_chk(file, flag, format, arguments);
    va_end(arguments);
    return result;
}
COIR_INTERPOSE int printf(const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = coir::vfprintf(stdout, format, arguments);
    va_end(arguments);
    return result;
}
COIR_INTERPOSE int __printf_chk(int flag, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = coir::__vfprintf_chk(stdout, flag, format, arguments);
    va_end(arguments);
    return result;
}
COIR_INTERPOSE int vdprintf(int fd, const char* format, std::va_list arguments)
{
    return outside() ? libc.vdprintf(fd, format, arguments) : print_to_descriptor(fd, format_text(format, arguments));
}
COIR_INTERPOSE int __vdprintf_chk(int fd, int flag, const char* format, std::va_list arguments)
{
    return outside() ? libc.vdprintf_chk(fd, flag, format, arguments)
                     : print_to_descriptor(fd, format_text_checked(flag, format, arguments));
}
COIR_INTERPOSE int dprintf(int fd, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = coir::vdprintf(fd, format, arguments);
    va_end(arguments);
    return result;
}
COIR_INTERPOSE int __dprintf_chk(int fd, int flag, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = coir::__vdprintf_chk(fd, flag, format, arguments);
    va_end(arguments);
    return result;
}

} // namespace coir
