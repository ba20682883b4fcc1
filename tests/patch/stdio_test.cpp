// SPDX-License-Identifier: BSL-1.0
// FILEs on pipes, terminals and sockets, and opening named pipes.
#include "descriptors.hpp"

#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <stdio_ext.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

namespace {

/// Closes it, and its descriptor.
struct close_file {
    void operator()(FILE* file) const { std::fclose(file); }
};
using unique_file = std::unique_ptr<FILE, close_file>;

/// The stage gives up the descriptor: the FILE closes it.
unique_file open_as_file(stage& on, int descriptor, const char* mode)
{
    on.disown(descriptor);
    return unique_file{::fdopen(descriptor, mode)};
}

struct kind {
    const char* name;
    std::function<two(stage&)> make;
};
const std::vector<kind> kinds{
    {"pipe", make_pipe}, {"FIFO", make_fifo},         {"unix stream", [](stage& on) { return unix_pair(on); }},
    {"tcp", tcp_pair},   {"terminal", make_terminal},
};

/// Writes the pieces, each when the body waits.
companion feed(stage& on, int to, std::vector<std::string> pieces)
{
    return on.start([&on, to, all = std::move(pieces)] {
        for (const auto& piece : all) {
            on.until_waiting();
            must(::write(to, piece.data(), piece.size()));
        }
    });
}

int print_all(FILE* file, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    const int result = std::vfprintf(file, format, arguments);
    va_end(arguments);
    return result;
}

} // namespace

TEST_CASE("lines, characters and blocks are read from what comes in pieces") {
    for (const auto& [name, make] : kinds) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  const auto file = open_as_file(on, reader, "r");
                  char line[32];
                  {
                      auto feeding = feed(on, writer, {"one ", "line\nand", " a second\n"});
                      on.note(std::string{std::fgets(line, sizeof line, file.get())});
                      on.note(std::string{std::fgets(line, sizeof line, file.get())});
                  }
                  {
                      auto feeding = feed(on, writer, {"long", "er than the room"});
                      on.note(std::string{std::fgets(line, 10, file.get())});
                      on.note(std::string{std::fgets(line, 12, file.get())});
                  }
                  {
                      auto feeding = feed(on, writer, {"ab", "cdefgh"});
                      on.record("read", [&] { return std::fread(line, 2, 4, file.get()); });
                      on.note(std::string(line, 8));
                  }
                  {
                      auto feeding = feed(on, writer, {"x", "y"});
                      on.record("getc", [&] { return std::getc(file.get()); });
                      on.record("ungetc", [&] { return std::ungetc('u', file.get()); });
                      on.record("getc", [&] { return ::getc_unlocked(file.get()); });
                      on.record("getc", [&] { return std::fgetc(file.get()); });
                  }
                  {
                      auto feeding = feed(on, writer, {"a ", "line\n", "field;", "end\n"});
                      char* text = nullptr;
                      std::size_t room = 0;
                      on.record("getline", [&] { return ::getline(&text, &room, file.get()); });
                      on.note(std::string{text});
                      on.record("getdelim", [&] { return ::getdelim(&text, &room, ';', file.get()); });
                      on.record("getline", [&] { return ::getline(&text, &room, file.get()); });
                      on.note(std::string{text});
                      std::free(text);
                  }
                  {
                      auto feeding = feed(on, writer, {"12 ", "34\n"});
                      int one = 0;
                      int two = 0;
                      on.record("scanf", [&] { return std::fscanf(file.get(), "%d %d", &one, &two); });
                      on.note(one, two, std::getc(file.get()) == '\n');
                  }
              }).find("one line\n\nand a second\n") == 0);
    }
}

TEST_CASE("the end of a FILE, and partial results before it") {
    for (const auto& [name, make] : kinds) {
        if (std::strcmp(name, "terminal") == 0)
            continue;
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  const auto file = open_as_file(on, reader, "r");
                  must(::write(writer, "abcdefg", 7));
                  on.close(writer);
                  char bytes[16] = {};
                  on.record("read", [&] { return std::fread(bytes, 4, 1, file.get()); });
                  on.note(std::string{std::fgets(bytes, sizeof bytes, file.get())});
                  on.note(std::feof(file.get()) != 0, std::ferror(file.get()) != 0);
                  on.note(std::fgets(bytes, sizeof bytes, file.get()) == nullptr);
                  on.record("getc", [&] { return std::getc(file.get()) == EOF; });
                  on.record("read", [&] { return std::fread(bytes, 1, 4, file.get()); });
                  char* text = nullptr;
                  std::size_t room = 0;
                  on.record("getline", [&] { return ::getline(&text, &room, file.get()); });
                  std::free(text);
                  int number;
                  on.record("scanf", [&] { return std::fscanf(file.get(), "%d", &number); });
              }).find("read 1\nefg\n1 0\n1\ngetc 1\nread 0\n") == 0);
    }
}

TEST_CASE("a FILE that does not wait, one that cannot be read, and one without a buffer") {
    CHECK(native_diff([](stage& on) {
              const auto ends = make_pipe(on);
              const auto file = open_as_file(on, ends.a, "r");
              set_nonblocking(ends.a, true);
              char bytes[8] = {};
              on.record("getc", [&] { return std::getc(file.get()); });
              on.note(std::ferror(file.get()) != 0);
              std::clearerr(file.get());
              set_nonblocking(ends.a, false);
              std::setvbuf(file.get(), nullptr, _IONBF, 0);
              auto feeding = feed(on, ends.b, {"ab", "c\n"});
              on.note(std::string{std::fgets(bytes, sizeof bytes, file.get())});
              const auto other = open_as_file(on, ends.b, "w");
              on.record("getc", [&] { return std::getc(other.get()); });
          }) == "getc -1 EAGAIN\n1\nabc\n\ngetc -1 EBADF\n");
}

TEST_CASE("what is printed to a slow reader arrives whole") {
    const std::string large(200'000, 'x');
    for (const auto& [name, make] : kinds) {
        if (std::strcmp(name, "terminal") == 0)
            continue;
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  auto file = open_as_file(on, writer, "w");
                  std::string received;
                  auto reading = on.start([&, from = reader] {
                      char bytes[3000];
                      for (ssize_t size; (size = ::read(from, bytes, sizeof bytes)) > 0; ::sched_yield())
                          received.append(bytes, static_cast<std::size_t>(size));
                  });
                  on.record("printf", [&] { return std::fprintf(file.get(), "%s %d\n", "text", 42); });
                  on.record("vprintf", [&] { return print_all(file.get(), "%s|", large.c_str()); });
                  on.record("fputs", [&] { return std::fputs("string", file.get()) >= 0; });
                  on.record("putc", [&] { return std::putc('c', file.get()); });
                  on.record("fwrite", [&] { return std::fwrite(large.data(), 1000, 200, file.get()); });
                  on.record("flush", [&] { return std::fflush(file.get()); });
                  for (int i = 0; i < 10'000; ++i)
                      ::putc_unlocked('0' + i % 10, file.get());
                  on.record("close", [&] { return std::fclose(file.release()); });
                  reading.join();
                  on.note(received.size(), received.starts_with("text 42\nxxx"), received.ends_with("789"));
              }) == "printf 8\nvprintf 200001\nfputs 1\nputc 99\nfwrite 200\nflush 0\nclose 0\n410016 1 1\n");
    }
}

TEST_CASE("fibers that print to one full FILE do not tear each other's lines") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              auto file = open_as_file(on, writer, "w");
              must(::fcntl(reader, F_SETPIPE_SZ, 4096));
              constexpr int lines = 60;
              const auto print = [&](char which) {
                  const std::string text(700, which);
                  for (int i = 0; i < lines; ++i)
                      std::fprintf(file.get(), "%s\n", text.c_str());
              };
              auto one = on.start([&] { print('a'); });
              auto two = on.start([&] { print('b'); });
              auto closing = on.start([&] {
                  one.join();
                  two.join();
                  std::fclose(file.release());
              });
              const auto input = open_as_file(on, reader, "r");
              char line[1024];
              int whole = 0;
              while (std::fgets(line, sizeof line, input.get()))
                  whole += std::strlen(line) == 701 && std::strspn(line, std::string(1, *line).c_str()) == 700;
              closing.join();
              on.note(whole);
          }) == "120\n");
}

TEST_CASE("a read or a write of a FILE is cut off, and the FILE has its error flag") {
    CHECK(in_fiber([](stage& on) {
              const auto ends = make_pipe(on);
              const auto input = open_as_file(on, ends.a, "r");
              char line[16];
              {
                  const coir::timeout limit{std::chrono::milliseconds{2}};
                  errno = 0;
                  const bool none = std::fgets(line, sizeof line, input.get()) == nullptr;
                  on.note(none, stage::error_name(errno), std::ferror(input.get()) != 0);
              }
              std::clearerr(input.get());
              auto cancelled = on.start([&] { on.record("getc", [&] { return std::getc(input.get()); }); });
              on.until_waiting(cancelled.who());
              cancelled.cancel();
              cancelled.join();
              std::clearerr(input.get());
              must(::write(ends.b, "fine\n", 5));
              on.note(std::string{std::fgets(line, sizeof line, input.get())});

              const auto full = make_pipe(on);
              fill(full.b);
              auto output = open_as_file(on, full.b, "w");
              const coir::timeout limit{std::chrono::milliseconds{2}};
              on.record("fputs", [&] { return std::fputs("buffered", output.get()) >= 0; });
              on.record("flush", [&] { return std::fflush(output.get()); });
              on.record("close", [&] { return std::fclose(output.release()); });
          }) == "1 ETIMEDOUT 1\ngetc -1 ECANCELED\nfine\n\nfputs 1\nflush -1 ETIMEDOUT\nclose -1 ETIMEDOUT\n");
}

TEST_CASE("threads and fibers read from one FILE, and nothing is lost") {
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC));
    const unique_file input{::fdopen(ends[0], "r")};
    std::atomic<std::size_t> bytes{0};
    std::atomic<std::size_t> ends_of_lines{0};
    const auto read_lines = [&] {
        char line[64];
        while (std::fgets(line, sizeof line, input.get())) {
            bytes += std::strlen(line);
            ends_of_lines += line[std::strlen(line) - 1] == '\n';
        }
    };
    std::thread reading{read_lines};
    std::thread writing{[&] {
        for (int i = 0; i < 500; ++i) {
            must(::write(ends[1], "a line of ", 10));
            if (i % 50 == 0)
                ::usleep(500);
            must(::write(ends[1], "some length\n", 12));
        }
        ::close(ends[1]);
    }};
    coir::run([&] {
        coir::fiber_group fibers;
        fibers.spawn(read_lines);
        fibers.spawn(read_lines);
        fibers.join();
    });
    reading.join();
    writing.join();
    CHECK(bytes == 500 * 22);
    CHECK(ends_of_lines == 500);
}

TEST_CASE("the next owner of a closed FILE's number is not taken for a file") {
    CHECK(native_diff([](stage& on) {
              FILE* const file = std::fopen("/proc/self/status", "re");
              const int number = ::fileno(file);
              char line[64];
              on.note(std::fgets(line, sizeof line, file) == line);
              on.record("close", [&] { return std::fclose(file); });
              const auto ends = make_pipe(on);
              on.note(ends.a == number);
              auto feeding = feed(on, ends.b, {"x"});
              on.record("read", [&] { return ::read(ends.a, line, 1); });
          }) == "1\nclose 0\n1\nread 1\n");
}

TEST_CASE("dprintf waits as write does") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              fill(writer);
              auto draining = on.start([&, from = reader] {
                  on.until_waiting();
                  read_exactly(from, 65536);
              });
              on.record("dprintf", [&, to = writer] { return ::dprintf(to, "%05d", 42); });
              draining.join();
              on.note(read_exactly(reader, 5));
          }) == "dprintf 5\n00042\n");
}

// ---- named pipes ----------------------------------------------------------------------------------------------------

TEST_CASE("opening a named pipe waits for the other end, and leaves no flag") {
    CHECK(native_diff([](stage& on) {
              const temporary_directory directory;
              const auto path = directory / "fifo";
              must(::mkfifo(path.c_str(), 0600));
              for (const bool reads : {true, false}) {
                  auto other = on.start([&] {
                      on.until_waiting();
                      const int end = on.own(::open(path.c_str(), (reads ? O_WRONLY : O_RDONLY) | O_CLOEXEC));
                      on.until_waiting();
                      on.close(end);
                  });
                  const int end = on.own(::openat(AT_FDCWD, path.c_str(), (reads ? O_RDONLY : O_WRONLY) | O_CLOEXEC));
                  on.note("open", is_nonblocking(end), reads);
                  if (reads) {
                      char byte;
                      on.record("read", [&] { return ::read(end, &byte, 1); }); // until the other end is closed
                  } else {
                      ::usleep(3000);
                  }
                  other.join();
                  on.close(end);
              }
              on.record("nobody reads", [&] { return ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC); });
              on.record_ok("both ways", [&] { return on.own(::open(path.c_str(), O_RDWR | O_CLOEXEC)); });
              on.record("nothing there", [&] { return ::open((path + "x").c_str(), O_RDONLY); });
              on.record("no directory", [&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY); });
          }) ==
          "open 0 1\nread 0\nopen 0 0\nnobody reads -1 ENXIO\nboth ways ok\nnothing there -1 ENOENT\nno directory "
          "-1 ENOTDIR\n");
}

TEST_CASE("fopen and freopen of a named pipe wait too") {
    CHECK(native_diff([](stage& on) {
              const temporary_directory directory;
              const auto path = directory / "fifo";
              must(::mkfifo(path.c_str(), 0600));
              for (const bool again : {false, true}) {
                  auto writing = on.start([&] {
                      on.until_waiting();
                      const unique_file output{std::fopen(path.c_str(), "we")};
                      std::fputs("by name\n", output.get());
                  });
                  const unique_file input{again ? std::freopen(path.c_str(), "r", std::fopen("/dev/null", "r"))
                                                : std::fopen(path.c_str(), "re")};
                  char line[16] = {};
                  on.note(std::string{std::fgets(line, sizeof line, input.get())});
                  writing.join();
              }
          }) == "by name\n\nby name\n\n");
}

TEST_CASE("opening a named pipe is cut off, and what was opened is closed") {
    CHECK(in_fiber([](stage& on) {
              const temporary_directory directory;
              const auto path = directory / "fifo";
              must(::mkfifo(path.c_str(), 0600));
              {
                  const coir::timeout limit{std::chrono::milliseconds{2}};
                  on.record("read", [&] { return ::open(path.c_str(), O_RDONLY); });
                  on.record("write", [&] { return ::open(path.c_str(), O_WRONLY); });
              }
              auto cancelled = on.start([&] { on.record("read", [&] { return ::open(path.c_str(), O_RDONLY); }); });
              on.until_waiting(cancelled.who());
              cancelled.cancel();
              cancelled.join();
          }) == "read -1 ETIMEDOUT\nwrite -1 ETIMEDOUT\nread -1 ECANCELED\n");
}
