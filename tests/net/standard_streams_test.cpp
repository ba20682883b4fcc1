// SPDX-License-Identifier: BSL-1.0
#include "child.hpp"
#include "waiting.hpp"

#include <coir/net/buffered_reader.hpp>
#include <coir/net/standard_streams.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

#include <string>
#include <string_view>

using namespace coir::net;

namespace {

/// In a child whose standard streams are `input` and `output`: answers each line.
int answer_lines(int input, int output)
{
    if (::dup2(input, STDIN_FILENO) < 0 || ::dup2(output, STDOUT_FILENO) < 0)
        return 90;
    return coir::run([] {
        auto in = standard_input();
        auto out = standard_output();
        buffered_reader lines{in};
        coir::fiber asking{[&] { out.write("?\n"); }}; // only while the others wait can it be asked
        while (const auto line = lines.read_line())
            out.write("<" + *line + ">\n");
        const bool flags_of_ours = (::fcntl(STDIN_FILENO, F_GETFL) | ::fcntl(STDOUT_FILENO, F_GETFL)) & O_NONBLOCK;
        return flags_of_ours ? 91 : 0;
    });
}

} // namespace

TEST_CASE("a terminal is read and written without blocking, and its flags stay") {
    unique_fd master;
    unique_fd slave;
    {
        int ends[2];
        REQUIRE(::openpty(&ends[0], &ends[1], nullptr, nullptr, nullptr) == 0);
        master = unique_fd{ends[0]};
        slave = unique_fd{ends[1]};
    }
    CHECK(support::status_of([&] {
              // The child's child types; what the terminal echoes back is not looked at.
              if (::fork() == 0) {
                  ::close(slave.release());
                  std::string seen;
                  char data[100];
                  const auto until = [&](std::string_view awaited) {
                      while (seen.find(awaited) == std::string::npos) {
                          const auto size = ::read(master.get(), data, sizeof data);
                          if (size <= 0)
                              ::_exit(1);
                          seen.append(data, static_cast<std::size_t>(size));
                      }
                  };
                  const auto type = [&](std::string_view text) {
                      if (::write(master.get(), text.data(), text.size()) < 0)
                          ::_exit(1);
                  };
                  until("?");
                  type("one\n");
                  until("<one>");
                  type("two\n");
                  until("<two>");
                  type("\004"); // ^D
                  char rest;
                  while (::read(master.get(), &rest, 1) > 0) {}
                  ::_exit(0);
              }
              return answer_lines(slave.get(), slave.get());
          }) == 0);
}

TEST_CASE("pipes and files as standard streams, which others may share") {
    auto to_child = make_pipe();
    auto from_child = make_pipe();
    to_child.writer.write("three\nfour");
    to_child.writer.close();
    CHECK(support::status_of([&] {
              // A second in the middle, so that the fiber beside it has run.
              return answer_lines(to_child.reader.native_handle(), from_child.writer.native_handle());
          }) == 0);
    from_child.writer.close();
    std::string text(17, ' ');
    from_child.reader.read(text);
    CHECK(text.size() == 17);
    CHECK(text.find("<three>\n") != std::string::npos);
    CHECK(text.find("<four>\n") != std::string::npos);
    CHECK((::fcntl(from_child.reader.native_handle(), F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("closing one's own does not close the process's") {
    auto out = standard_output();
    CHECK(out.native_handle() > 2);
    out.close();
    CHECK(::fcntl(STDOUT_FILENO, F_GETFD) >= 0);
    auto error = standard_error();
    CHECK(error.is_open());
}
