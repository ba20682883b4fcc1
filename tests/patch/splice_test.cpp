// SPDX-License-Identifier: BSL-1.0
// sendfile, splice, tee and vmsplice: data that goes from one descriptor to another.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

namespace {

std::string pattern(std::size_t size)
{
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>(i * 7 + i / 251);
    return text;
}

struct target_kind {
    const char* name;
    std::function<two(stage&)> make; ///< a reads what goes into b
};
const std::vector<target_kind> targets{
    {"tcp", tcp_pair},
    {"unix stream", [](stage& on) { return unix_pair(on); }},
    {"pipe", make_pipe},
    {"FIFO", make_fifo},
};

std::string read_slowly(int descriptor, std::size_t size)
{
    std::string all;
    while (all.size() < size) {
        all += read_exactly(descriptor, std::min<std::size_t>(3000, size - all.size()));
        ::sched_yield();
    }
    return all;
}

} // namespace

TEST_CASE("sendfile sends all of a file to a slow reader") {
    const auto content = pattern(700'001);
    for (const auto& [name, make] : targets) {
        CAPTURE(std::string{name});
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make(on);
                  const int file = make_file(on, content);
                  std::string received;
                  auto reading =
                      on.start([&, from = reader] { received = read_slowly(from, 2 * content.size() - 11); });
                  // To a pipe, the kernel stops early.
                  off_t position = 10;
                  while (static_cast<std::size_t>(position) < content.size())
                      must(::sendfile(writer, file, &position, 1 << 20));
                  on.note(position, ::lseek(file, 0, SEEK_CUR));
                  must(::lseek(file, 1, SEEK_SET));
                  for (std::size_t sent = 1; sent < content.size();)
                      sent += static_cast<std::size_t>(must(::sendfile64(writer, file, nullptr, 1 << 20)));
                  on.note(::lseek(file, 0, SEEK_CUR));
                  reading.join();
                  on.note(received == content.substr(10) + content.substr(1));
              }) == "700001 0\n700001\n1\n");
    }
}

TEST_CASE("sendfile at the end, with time-outs, without waiting, and with bad arguments") {
    const auto content = pattern(1 << 20);
    CHECK(native_diff([&](stage& on) {
              const auto [reader, writer] = unix_pair(on);
              const int file = make_file(on, content);
              off_t position = 1 << 20;
              on.record("at the end", [&] { return ::sendfile(writer, file, &position, 10); });
              on.record("nothing", [&] { return ::sendfile(writer, file, nullptr, 0); });
              on.record("from a socket", [&] { return ::sendfile(writer, reader, nullptr, 10); });
              on.record("bad source", [&] { return ::sendfile(writer, -1, nullptr, 10); });
              on.record("bad target", [&] { return ::sendfile(-1, file, nullptr, 10); });
              const int copy = make_file(on);
              on.record("to a file", [&] { return ::sendfile(copy, file, nullptr, 1000); });
              position = 0;
              set_timeout(writer, SO_SNDTIMEO, 10);
              const auto sent = ::sendfile(writer, file, &position, content.size());
              on.note(sent > 0 && sent < 1 << 20, position == sent);
              fill(writer);
              on.record("full", [&] { return ::sendfile(writer, file, nullptr, 10); });
              set_nonblocking(writer, true);
              on.record("full", [&] { return ::sendfile(writer, file, nullptr, 10); });
              on.close(reader);
              on.note(::lseek(file, 0, SEEK_CUR));
          }) == "at the end 0\nnothing 0\nfrom a socket -1 EINVAL\nbad source -1 EBADF\nbad target -1 EBADF\nto a file "
                "1000\n1 1\nfull -1 EAGAIN\nfull -1 EAGAIN\n1000\n");
}

TEST_CASE("splice waits for something in its pipe, and for room") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              const auto [peer, socket] = unix_pair(on);
              auto feeding = on.start([&, to = writer] {
                  on.until_waiting();
                  must(::write(to, "fed", 3));
              });
              on.record("pipe to socket", [&] { return ::splice(reader, nullptr, socket, nullptr, 100, 0); });
              feeding.join();
              on.note(read_exactly(peer, 3));

              auto sending = on.start([&, to = peer] {
                  on.until_waiting();
                  must(::write(to, "sent", 4));
              });
              on.record("socket to pipe", [&] { return ::splice(socket, nullptr, writer, nullptr, 100, 0); });
              sending.join();
              on.note(read_exactly(reader, 4));

              fill(writer);
              must(::write(peer, "more", 4));
              auto draining = on.start([&, from = reader] {
                  on.until_waiting();
                  char bytes[4096];
                  for (int i = 0; i < 16; ++i)
                      must(::read(from, bytes, sizeof bytes));
              });
              on.record("when there is room", [&] { return ::splice(socket, nullptr, writer, nullptr, 100, 0); });
              draining.join();
              on.note(read_exactly(reader, 4));
          }) == "pipe to socket 3\nfed\nsocket to pipe 4\nsent\nwhen there is room 4\nmore\n");
}

TEST_CASE("splice empties a pipe into a socket whose reader is slow") {
    const auto content = pattern(60'000);
    for (const bool tcp : {false, true}) {
        CAPTURE(tcp);
        CHECK(native_diff([&](stage& on) {
                  const auto [reader, writer] = make_pipe(on);
                  const auto [peer, socket] = tcp ? tcp_pair(on) : unix_pair(on);
                  shrink_buffers(socket);
                  shrink_buffers(peer);
                  must(::write(writer, content.data(), content.size()));
                  std::string received;
                  auto reading = on.start([&, from = peer] { received = read_slowly(from, content.size()); });
                  on.record("splice", [&] { return ::splice(reader, nullptr, socket, nullptr, 1 << 20, 0); });
                  reading.join();
                  on.note(received == content);
              }) == "splice 60000\n1\n");
    }
}

TEST_CASE("splice between pipes and files, and tee, which takes nothing away") {
    CHECK(native_diff([](stage& on) {
              const auto one = make_pipe(on);
              const auto two = make_pipe(on);
              auto feeding = on.start([&] {
                  on.until_waiting();
                  must(::write(one.b, "tea", 3));
              });
              on.record("tee", [&] { return ::tee(one.a, two.b, 100, 0); });
              feeding.join();
              on.note(read_exactly(two.a, 3));
              on.record("pipe to pipe", [&] { return ::splice(one.a, nullptr, two.b, nullptr, 100, 0); });
              on.note(read_exactly(two.a, 3));

              const int file = make_file(on, "content");
              off_t position = 3;
              on.record("file to pipe", [&] { return ::splice(file, &position, one.b, nullptr, 100, 0); });
              on.note(position, read_exactly(one.a, 4));
              must(::write(one.b, "new", 3));
              position = 0;
              on.record("pipe to file", [&] { return ::splice(one.a, nullptr, file, &position, 100, 0); });

              on.record("not to wait",
                        [&] { return ::splice(one.a, nullptr, two.b, nullptr, 100, SPLICE_F_NONBLOCK); });
              set_nonblocking(two.b, true);
              on.record("not to wait", [&] { return ::tee(one.a, two.b, 100, 0); });
              set_nonblocking(two.b, false);
              on.record("files", [&] { return ::splice(file, nullptr, file, nullptr, 100, 0); });
              on.record("to itself", [&] { return ::splice(one.a, nullptr, one.b, nullptr, 100, 0); });
              on.record("bad", [&] { return ::splice(-1, nullptr, one.b, nullptr, 100, 0); });
              on.record("nothing", [&] { return ::splice(one.a, nullptr, two.b, nullptr, 0, 0); });
              on.close(one.b);
              on.record("the end", [&] { return ::splice(one.a, nullptr, two.b, nullptr, 100, 0); });
              on.record("the end", [&] { return ::tee(one.a, two.b, 100, 0); });
          }) == "tee 3\ntea\npipe to pipe 3\ntea\nfile to pipe 4\n7 tent\npipe to file 3\nnot to wait -1 EAGAIN\nnot "
                "to wait -1 EAGAIN\nfiles -1 EINVAL\nto itself -1 EINVAL\nbad -1 EBADF\nnothing 0\nthe end 0\nthe end "
                "0\n");
}

TEST_CASE("vmsplice waits for room, and for something to read") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              static std::string text(4096, 't');
              const iovec part{text.data(), text.size()};
              fill(writer);
              auto draining = on.start([&, from = reader] {
                  on.until_waiting();
                  read_exactly(from, 16 * 4096);
              });
              on.record("vmsplice", [&] { return ::vmsplice(writer, &part, 1, 0); });
              draining.join();
              on.record("from a pipe", [&] { return ::vmsplice(reader, &part, 1, 0); });
              auto feeding = on.start([&, to = writer] {
                  on.until_waiting();
                  must(::write(to, "x", 1));
              });
              on.record("from a pipe", [&] { return ::vmsplice(reader, &part, 1, 0); });
              feeding.join();
              on.record("not to wait", [&] { return ::vmsplice(reader, &part, 1, SPLICE_F_NONBLOCK); });
              on.record("no pipe", [&] { return ::vmsplice(make_file(on), &part, 1, 0); });
          }) == "vmsplice 4096\nfrom a pipe 4096\nfrom a pipe 1\nnot to wait -1 EAGAIN\nno pipe -1 EBADF\n");
}

TEST_CASE("copy_file_range copies, on a helper thread") {
    CHECK(native_diff([](stage& on) {
              const int from = make_file(on, "content");
              const int to = make_file(on);
              on.record("copy", [&] { return ::copy_file_range(from, nullptr, to, nullptr, 100, 0); });
              on.record("pipe", [&] { return ::copy_file_range(make_pipe(on).a, nullptr, to, nullptr, 100, 0); });
          }) == "copy 7\npipe -1 EINVAL\n");
}
