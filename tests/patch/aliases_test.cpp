// SPDX-License-Identifier: BSL-1.0
// The names that a call has besides its own: fortified twins, those with 64, those that lock nothing. Each waits as the
// call does, and does the same.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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
}

namespace {

template <class Call> struct named {
    const char* name;
    Call call;
};

} // namespace

TEST_CASE("other names for reading a descriptor, and for asking about it, wait too") {
    using call = int (*)(int, char*);
    const named<call> calls[]{
        {"__read_chk", [](int from, char* to) { return static_cast<int>(::__read_chk(from, to, 4, 8)); }},
        {"__recv_chk", [](int from, char* to) { return static_cast<int>(::__recv_chk(from, to, 4, 8, 0)); }},
        {"__recvfrom_chk",
         [](int from, char* to) { return static_cast<int>(::__recvfrom_chk(from, to, 4, 8, 0, nullptr, nullptr)); }},
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

TEST_CASE("other names for reading a FILE wait too") {
    using call = int (*)(FILE*, char*);
    const auto length = [](const char* text) { return text ? static_cast<int>(::strlen(text)) : -1; };
    static const auto length_of = length;
    const named<call> calls[]{
        {"fgetc_unlocked", [](FILE* file, char*) { return ::fgetc_unlocked(file); }},
        {"fread_unlocked", [](FILE* file, char* to) { return static_cast<int>(::fread_unlocked(to, 1, 5, file)); }},
        {"__fread_chk", [](FILE* file, char* to) { return static_cast<int>(::__fread_chk(to, 16, 1, 5, file)); }},
        {"__fread_unlocked_chk",
         [](FILE* file, char* to) { return static_cast<int>(::__fread_unlocked_chk(to, 16, 1, 5, file)); }},
        {"fgets_unlocked", [](FILE* file, char* to) { return length_of(::fgets_unlocked(to, 16, file)); }},
        {"__fgets_chk", [](FILE* file, char* to) { return length_of(::__fgets_chk(to, 16, 16, file)); }},
        {"__fgets_unlocked_chk",
         [](FILE* file, char* to) { return length_of(::__fgets_unlocked_chk(to, 16, 16, file)); }},
        {"__getdelim",
         [](FILE* file, char*) {
             char* line = nullptr;
             size_t size = 0;
             const auto result = ::__getdelim(&line, &size, '\n', file);
             ::free(line);
             return static_cast<int>(result);
         }},
    };
    for (const auto& each : calls) {
        CAPTURE(std::string{each.name});
        const auto transcript = native_diff([&](stage& on) {
            const auto ends = make_pipe(on);
            on.disown(ends.a);
            FILE* const file = ::fdopen(ends.a, "r");
            char bytes[16]{};
            auto feeding = on.start([&] {
                on.until_waiting();
                must(::write(ends.b, "line\n", 5));
            });
            on.note(each.call(file, bytes));
            feeding.join();
            ::fclose(file);
        });
        CHECK(transcript == (std::string{each.name} == "fgetc_unlocked" ? "108\n" : "5\n"));
    }
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

} // namespace

TEST_CASE("other names for writing a FILE wait too") {
    using call = int (*)(FILE*);
    const named<call> calls[]{
        {"fwrite_unlocked", [](FILE* file) { return static_cast<int>(::fwrite_unlocked("line\n", 1, 5, file)); }},
        {"fputs_unlocked", [](FILE* file) { return ::fputs_unlocked("line\n", file) >= 0 ? 5 : -1; }},
        {"fputc", [](FILE* file) { return ::fputc('\5', file); }},
        {"fputc_unlocked", [](FILE* file) { return ::fputc_unlocked('\5', file); }},
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

TEST_CASE("other names for opening wait for the other end of a named pipe too") {
    using call = int (*)(const char*);
    const named<call> calls[]{
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
