// SPDX-License-Identifier: BSL-1.0
// The names that a call has besides its own: fortified twins, those with 64, those that lock nothing. Each waits as the
// call does, and does the same. What the headers make another name of, or a function of their own, is called through
// what they cannot see into: by its name as the linker knows it, or by its address.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <utility>

extern "C" { // what the headers declare for fortified programs, or for themselves
ssize_t __read_chk(int, void*, size_t, size_t);
ssize_t __recv_chk(int, void*, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void*, size_t, size_t, int, sockaddr*, socklen_t*);
int __poll(pollfd*, nfds_t, int);
int __poll_chk(pollfd*, nfds_t, int, size_t);
int __ppoll_chk(pollfd*, nfds_t, const timespec*, const sigset_t*, size_t);
char* __fgets_chk(char*, size_t, int, FILE*);
char* __fgets_unlocked_chk(char*, size_t, int, FILE*);
size_t __fread_chk(void*, size_t, size_t, size_t, FILE*);
size_t __fread_unlocked_chk(void*, size_t, size_t, size_t, FILE*);
ssize_t __getdelim(char**, size_t*, int, FILE*);
int __fprintf_chk(FILE*, int, const char*, ...);
int __vfprintf_chk(FILE*, int, const char*, va_list);
int __dprintf_chk(int, int, const char*, ...);
int __vdprintf_chk(int, int, const char*, va_list);
int __open_2(const char*, int);
int __open64_2(const char*, int);
int __openat_2(int, const char*, int);
int __openat64_2(int, const char*, int);
int __uflow(FILE*);
int __overflow(FILE*, int);
int __printf_chk(int, const char*, ...);
int __vprintf_chk(int, const char*, va_list);

// with 64-bit offsets, which the build asks for, the names are those with 64
int plain_open(const char*, int, ...) __asm__("open");
int plain_openat(int, const char*, int, ...) __asm__("openat");
FILE* plain_fopen(const char*, const char*) __asm__("fopen");
FILE* plain_freopen(const char*, const char*, FILE*) __asm__("freopen");
ssize_t plain_preadv2(int, const iovec*, int, off64_t, int) __asm__("preadv2");
ssize_t plain_pwritev2(int, const iovec*, int, off64_t, int) __asm__("pwritev2");
ssize_t plain_sendfile(int, int, off64_t*, size_t) __asm__("sendfile");

// as of C99, the names are those with isoc99
int plain_fscanf(FILE*, const char*, ...) __asm__("fscanf");
int plain_scanf(const char*, ...) __asm__("scanf");
int plain_vfscanf(FILE*, const char*, va_list) __asm__("vfscanf");
int plain_vscanf(const char*, va_list) __asm__("vscanf");
int __isoc99_fscanf(FILE*, const char*, ...);
int __isoc99_scanf(const char*, ...);
int __isoc99_vfscanf(FILE*, const char*, va_list);
int __isoc99_vscanf(const char*, va_list);
}

namespace {

template <class Call> struct named {
    const char* name;
    Call call;
};

/// Another FILE as stdin or stdout.
class standing_in {
public:
    standing_in(FILE*& standard, FILE* file) : standard_{standard}, before_{std::exchange(standard, file)} {}
    standing_in(const standing_in&) = delete;
    standing_in& operator=(const standing_in&) = delete;
    ~standing_in() { standard_ = before_; }

private:
    FILE*& standard_;
    FILE* before_;
};

} // namespace

TEST_CASE("other names for reading a descriptor, and for asking about it, wait too") {
    using call = int (*)(int, char*);
    const named<call> calls[]{
        {"__read_chk", [](int from, char* to) { return static_cast<int>(::__read_chk(from, to, 4, 8)); }},
        {"__recv_chk", [](int from, char* to) { return static_cast<int>(::__recv_chk(from, to, 4, 8, 0)); }},
        {"__recvfrom_chk",
         [](int from, char* to) { return static_cast<int>(::__recvfrom_chk(from, to, 4, 8, 0, nullptr, nullptr)); }},
        {"preadv2",
         [](int from, char* to) {
             const iovec part{.iov_base = to, .iov_len = 4};
             return static_cast<int>(::plain_preadv2(from, &part, 1, -1, 0));
         }},
        {"preadv64v2",
         [](int from, char* to) {
             const iovec part{.iov_base = to, .iov_len = 4};
             return static_cast<int>(::preadv64v2(from, &part, 1, -1, 0));
         }},
        {"__poll",
         [](int from, char*) {
             pollfd item{.fd = from, .events = POLLIN, .revents = 0};
             return ::__poll(&item, 1, -1);
         }},
        {"__poll_chk",
         [](int from, char*) {
             pollfd item{.fd = from, .events = POLLIN, .revents = 0};
             return ::__poll_chk(&item, 1, -1, sizeof item);
         }},
        {"__ppoll_chk",
         [](int from, char*) {
             pollfd item{.fd = from, .events = POLLIN, .revents = 0};
             return ::__ppoll_chk(&item, 1, nullptr, nullptr, sizeof item);
         }},
    };
    for (const auto& each : calls) {
        CAPTURE(std::string{each.name});
        CHECK(native_diff([&](stage& on) {
                  const auto ends = unix_pair(on);
                  char bytes[8]{};
                  auto feeding = on.start([&] {
                      on.until_waiting();
                      must(::write(ends.b, "x", 1));
                  });
                  on.record("call", [&] { return each.call(ends.a, bytes); });
              }) == "call 1\n");
    }
}

namespace {

int scan_list(int (*scan)(FILE*, const char*, va_list), FILE* file, ...)
{
    va_list list;
    va_start(list, file);
    const int result = scan(file, "%15s", list);
    va_end(list);
    return result;
}

int scan_list_of_stdin(int (*scan)(const char*, va_list), ...)
{
    va_list list;
    va_start(list, scan);
    const int result = scan("%15s", list);
    va_end(list);
    return result;
}

int length_of(const char* text)
{
    return text ? static_cast<int>(::strlen(text)) : -1;
}

} // namespace

TEST_CASE("other names for reading a FILE wait too") {
    using call = int (*)(FILE*, char*);
    struct read_as : named<call> {
        int result; ///< of "line\n"
    };
    const read_as calls[]{
        {{"getc", [](FILE* file, char*) { return unknown(&::getc)(file); }}, 'l'},
        {{"fgetc_unlocked", [](FILE* file, char*) { return unknown(&::fgetc_unlocked)(file); }}, 'l'},
        {{"getc_unlocked", [](FILE* file, char*) { return unknown(&::getc_unlocked)(file); }}, 'l'},
        {{"getchar", [](FILE*, char*) { return unknown(&::getchar)(); }}, 'l'},
        {{"getchar_unlocked", [](FILE*, char*) { return unknown(&::getchar_unlocked)(); }}, 'l'},
        {{"__uflow", [](FILE* file, char*) { return ::__uflow(file); }}, 'l'},
        {{"fread_unlocked", [](FILE* file, char* to) { return static_cast<int>(::fread_unlocked(to, 1, 5, file)); }},
         5},
        {{"__fread_chk", [](FILE* file, char* to) { return static_cast<int>(::__fread_chk(to, 16, 1, 5, file)); }}, 5},
        {{"__fread_unlocked_chk",
          [](FILE* file, char* to) { return static_cast<int>(::__fread_unlocked_chk(to, 16, 1, 5, file)); }},
         5},
        {{"fgets_unlocked", [](FILE* file, char* to) { return length_of(::fgets_unlocked(to, 16, file)); }}, 5},
        {{"__fgets_chk", [](FILE* file, char* to) { return length_of(::__fgets_chk(to, 16, 16, file)); }}, 5},
        {{"__fgets_unlocked_chk",
          [](FILE* file, char* to) { return length_of(::__fgets_unlocked_chk(to, 16, 16, file)); }},
         5},
        {{"getline",
          [](FILE* file, char*) {
              char* line = nullptr;
              size_t size = 0;
              const auto result = unknown(&::getline)(&line, &size, file);
              ::free(line);
              return static_cast<int>(result);
          }},
         5},
        {{"__getdelim",
          [](FILE* file, char*) {
              char* line = nullptr;
              size_t size = 0;
              const auto result = ::__getdelim(&line, &size, '\n', file);
              ::free(line);
              return static_cast<int>(result);
          }},
         5},
        {{"fscanf", [](FILE* file, char* to) { return ::plain_fscanf(file, "%15s", to); }}, 1},
        {{"scanf", [](FILE*, char* to) { return ::plain_scanf("%15s", to); }}, 1},
        {{"vfscanf", [](FILE* file, char* to) { return scan_list(::plain_vfscanf, file, to); }}, 1},
        {{"vscanf", [](FILE*, char* to) { return scan_list_of_stdin(::plain_vscanf, to); }}, 1},
        {{"__isoc99_fscanf", [](FILE* file, char* to) { return ::__isoc99_fscanf(file, "%15s", to); }}, 1},
        {{"__isoc99_scanf", [](FILE*, char* to) { return ::__isoc99_scanf("%15s", to); }}, 1},
        {{"__isoc99_vfscanf", [](FILE* file, char* to) { return scan_list(::__isoc99_vfscanf, file, to); }}, 1},
        {{"__isoc99_vscanf", [](FILE*, char* to) { return scan_list_of_stdin(::__isoc99_vscanf, to); }}, 1},
    };
    for (const auto& each : calls) {
        CAPTURE(std::string{each.name});
        CHECK(native_diff([&](stage& on) {
                  const auto ends = make_pipe(on);
                  on.disown(ends.a);
                  FILE* const file = ::fdopen(ends.a, "r");
                  const standing_in as{stdin, file};
                  char bytes[16]{};
                  auto feeding = on.start([&] {
                      on.until_waiting();
                      must(::write(ends.b, "line\n", 5));
                  });
                  on.note(each.call(file, bytes));
                  if (each.result == 1)
                      on.note(std::string{bytes});
                  feeding.join();
                  ::fclose(file);
              }) == std::to_string(each.result) + (each.result == 1 ? "\nline\n" : "\n"));
    }
}

TEST_CASE("the names of scanf with isoc99 know C99's %a, and the plain ones GNU's") {
    CHECK(native_diff([](stage& on) {
              const auto ends = make_pipe(on);
              on.disown(ends.a);
              FILE* const file = ::fdopen(ends.a, "r");
              must(::write(ends.b, "1.5s 2.5s", 9));
              on.close(ends.b);
              char* word = nullptr;
              const int words = ::plain_fscanf(file, "%as", &word);
              on.note(words, std::string{word ? word : ""});
              ::free(word);
              float number = 0;
              const int numbers = ::__isoc99_fscanf(file, "%as", &number);
              on.note(numbers, number);
              ::fclose(file);
          }) == "1 1.5s\n1 2.5\n");
}

namespace {

int print_list(int (*print)(FILE*, int, const char*, va_list), FILE* file, ...)
{
    va_list list;
    va_start(list, file);
    const int result = print(file, 1, "%s", list);
    va_end(list);
    return result;
}

int print_list_to(int descriptor, int checked, ...)
{
    va_list list;
    va_start(list, checked);
    const int result = checked ? ::__vdprintf_chk(descriptor, 1, "%s", list) : ::vdprintf(descriptor, "%s", list);
    va_end(list);
    return result;
}

int print_list_to_stdout(int checked, ...)
{
    va_list list;
    va_start(list, checked);
    const int result = checked ? ::__vprintf_chk(1, "%s", list) : unknown(&::vprintf)("%s", list);
    va_end(list);
    return result;
}

} // namespace

TEST_CASE("other names for writing a FILE wait too") {
    using call = int (*)(FILE*);
    const named<call> calls[]{
        {"fwrite_unlocked", [](FILE* file) { return static_cast<int>(::fwrite_unlocked("line\n", 1, 5, file)); }},
        {"fputs_unlocked", [](FILE* file) { return ::fputs_unlocked("line\n", file) >= 0 ? 5 : -1; }},
        {"puts", [](FILE*) { return unknown(&::puts)("line"); }},
        {"fputc", [](FILE* file) { return unknown(&::fputc)('\5', file); }},
        {"fputc_unlocked", [](FILE* file) { return unknown(&::fputc_unlocked)('\5', file); }},
        {"putc_unlocked", [](FILE* file) { return unknown(&::putc_unlocked)('\5', file); }},
        {"putchar", [](FILE*) { return unknown(&::putchar)('\5'); }},
        {"putchar_unlocked", [](FILE*) { return unknown(&::putchar_unlocked)('\5'); }},
        {"__overflow", [](FILE* file) { return ::__overflow(file, '\5'); }},
        {"__printf_chk", [](FILE*) { return ::__printf_chk(1, "%s", "line\n"); }},
        {"vprintf", [](FILE*) { return print_list_to_stdout(0, "line\n"); }},
        {"__vprintf_chk", [](FILE*) { return print_list_to_stdout(1, "line\n"); }},
        {"__fprintf_chk", [](FILE* file) { return ::__fprintf_chk(file, 1, "%s", "line\n"); }},
        {"__vfprintf_chk", [](FILE* file) { return print_list(::__vfprintf_chk, file, "line\n"); }},
        {"__dprintf_chk", [](FILE* file) { return ::__dprintf_chk(::fileno(file), 1, "%s", "line\n"); }},
        {"vdprintf", [](FILE* file) { return print_list_to(::fileno(file), 0, "line\n"); }},
        {"__vdprintf_chk", [](FILE* file) { return print_list_to(::fileno(file), 1, "line\n"); }},
        {"fflush_unlocked",
         [](FILE* file) {
             ::setvbuf(file, nullptr, _IOFBF, 64);
             ::fputs("line\n", file);
             return ::fflush_unlocked(file) == 0 ? 5 : -1;
         }},
    };
    for (const auto& each : calls) {
        CAPTURE(std::string{each.name});
        CHECK(native_diff([&](stage& on) {
                  const auto ends = make_pipe(on);
                  on.disown(ends.b);
                  FILE* const file = ::fdopen(ends.b, "w");
                  const standing_in as{stdout, file};
                  ::setvbuf(file, nullptr, _IONBF, 0);
                  const auto full = fill(ends.b);
                  auto draining = on.start([&] {
                      on.until_waiting();
                      read_exactly(ends.a, full);
                  });
                  on.note(each.call(file));
                  draining.join();
                  ::fclose(file);
              }) == "5\n");
    }
}

TEST_CASE("other names for writing to a descriptor wait too") {
    using call = int (*)(int, int);
    const named<call> calls[]{
        {"pwritev2",
         [](int to, int) {
             char bytes[] = "line\n";
             const iovec part{.iov_base = bytes, .iov_len = 5};
             return static_cast<int>(::plain_pwritev2(to, &part, 1, -1, 0));
         }},
        {"pwritev64v2",
         [](int to, int) {
             char bytes[] = "line\n";
             const iovec part{.iov_base = bytes, .iov_len = 5};
             return static_cast<int>(::pwritev64v2(to, &part, 1, -1, 0));
         }},
        {"sendfile", [](int to, int file) { return static_cast<int>(::plain_sendfile(to, file, nullptr, 5)); }},
        {"sendfile64", [](int to, int file) { return static_cast<int>(::sendfile64(to, file, nullptr, 5)); }},
    };
    for (const auto& each : calls) {
        CAPTURE(std::string{each.name});
        CHECK(native_diff([&](stage& on) {
                  const auto ends = make_pipe(on);
                  const int file = make_file(on, "line\n");
                  const auto full = fill(ends.b);
                  auto draining = on.start([&] {
                      on.until_waiting();
                      read_exactly(ends.a, full);
                  });
                  on.note(each.call(ends.b, file));
                  draining.join();
                  on.note(read_exactly(ends.a, 4));
              }) == "5\nline\n");
    }
}

TEST_CASE("other names for opening wait for the other end of a named pipe too") {
    using call = int (*)(const char*);
    const named<call> calls[]{
        {"open", [](const char* path) { return ::plain_open(path, O_RDONLY | O_CLOEXEC); }},
        {"openat", [](const char* path) { return ::plain_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC); }},
        {"fopen",
         [](const char* path) {
             FILE* const file = ::plain_fopen(path, "re");
             const int result = ::fcntl(::fileno(file), F_DUPFD_CLOEXEC, 0);
             ::fclose(file);
             return result;
         }},
        {"freopen",
         [](const char* path) {
             FILE* const file = ::plain_freopen(path, "re", ::fopen("/dev/null", "re"));
             const int result = ::fcntl(::fileno(file), F_DUPFD_CLOEXEC, 0);
             ::fclose(file);
             return result;
         }},
        {"open64", [](const char* path) { return ::open64(path, O_RDONLY | O_CLOEXEC); }},
        {"openat64", [](const char* path) { return ::openat64(AT_FDCWD, path, O_RDONLY | O_CLOEXEC); }},
        {"__open_2", [](const char* path) { return ::__open_2(path, O_RDONLY | O_CLOEXEC); }},
        {"__open64_2", [](const char* path) { return ::__open64_2(path, O_RDONLY | O_CLOEXEC); }},
        {"__openat_2", [](const char* path) { return ::__openat_2(AT_FDCWD, path, O_RDONLY | O_CLOEXEC); }},
        {"__openat64_2", [](const char* path) { return ::__openat64_2(AT_FDCWD, path, O_RDONLY | O_CLOEXEC); }},
        {"fopen64",
         [](const char* path) {
             FILE* const file = ::fopen64(path, "re");
             const int result = ::fcntl(::fileno(file), F_DUPFD_CLOEXEC, 0);
             ::fclose(file);
             return result;
         }},
        {"freopen64",
         [](const char* path) {
             FILE* const file = ::freopen64(path, "re", ::fopen("/dev/null", "re"));
             const int result = ::fcntl(::fileno(file), F_DUPFD_CLOEXEC, 0);
             ::fclose(file);
             return result;
         }},
    };
    for (const auto& each : calls) {
        CAPTURE(std::string{each.name});
        CHECK(native_diff([&](stage& on) {
                  const temporary_directory directory;
                  const auto path = directory / "fifo";
                  must(::mkfifo(path.c_str(), 0600));
                  auto opening = on.start([&] {
                      on.until_waiting();
                      const int end = must(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
                      must(::write(end, "word", 4));
                      must(::close(end));
                  });
                  const int end = on.own(each.call(path.c_str()));
                  opening.join();
                  on.note(read_exactly(end, 10), is_nonblocking(end));
              }) == "word 0\n");
    }
}
