// SPDX-License-Identifier: BSL-1.0
// Locks on files. Those of fcntl and lockf belong to the process, so that another has to hold them; those of flock and
// F_OFD_SETLKW belong to the open file.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" { // with 64-bit offsets, which the build asks for, <fcntl.h> and <unistd.h> call those with 64
int plain_fcntl(int, int, ...) __asm__("fcntl");
int fcntl_with_64(int, int, ...) __asm__("fcntl64");
int plain_lockf(int, int, off64_t) __asm__("lockf");
int lockf_with_64(int, int, off64_t) __asm__("lockf64");
}

namespace {

struct flock whole(short type)
{
    struct flock lock = {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return lock;
}

/// A file of which each call gives a descriptor of its own.
class lock_file {
public:
    int open(stage& on) { return on.own(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)); }
    const std::string& path() const { return path_; }

private:
    temporary_directory directory_;
    std::string path_ = directory_ / "lock";
};

/// Another process that holds the whole file locked until it is told to let go.
class holder {
public:
    explicit holder(const std::string& path)
    {
        int up[2];
        int down[2];
        must(::pipe2(up, O_CLOEXEC));
        must(::pipe2(down, O_CLOEXEC));
        child_ = must(::fork());
        if (child_ == 0) {
            coir::current_fiber = nullptr; // an ordinary process
            const int file = ::open(path.c_str(), O_RDWR);
            auto lock = whole(F_WRLCK);
            char byte = 'x';
            if (::fcntl(file, F_SETLK, &lock) != 0 || ::write(up[1], &byte, 1) != 1)
                ::_exit(1);
            ::close(down[1]);
            static_cast<void>(::read(down[0], &byte, 1));
            ::_exit(0);
        }
        ::close(up[1]);
        ::close(down[0]);
        char byte;
        CHECK(::read(up[0], &byte, 1) == 1);
        ::close(up[0]);
        tell_ = down[1];
    }
    holder(const holder&) = delete;
    holder& operator=(const holder&) = delete;
    ~holder()
    {
        let_go();
        ::waitpid(child_, nullptr, 0);
    }
    void let_go()
    {
        if (tell_ >= 0)
            ::close(std::exchange(tell_, -1));
    }

private:
    pid_t child_;
    int tell_;
};

} // namespace

TEST_CASE("flock and open file locks are waited for") {
    CHECK(native_diff([](stage& on) {
              lock_file file;
              const int first = file.open(on);
              const int second = file.open(on);
              on.record("flock", [&] { return ::flock(first, LOCK_EX); });
              on.record("at once", [&] { return ::flock(second, LOCK_EX | LOCK_NB); });
              auto letting_go = on.start([&] {
                  on.until_waiting();
                  must(::flock(first, LOCK_UN));
              });
              on.record("shared", [&] { return ::flock(second, LOCK_SH); });
              letting_go.join();
              on.record("shared", [&] { return ::flock(first, LOCK_SH); });
              on.record("bad", [&] { return ::flock(-1, LOCK_EX); });
              on.record("bad", [&] { return ::flock(first, 77); });

              auto lock = whole(F_WRLCK);
              on.record("OFD", [&] { return ::fcntl(first, F_OFD_SETLK, &lock); });
              on.record("OFD", [&] { return ::fcntl(second, F_OFD_SETLK, &lock); });
              auto unlocking = on.start([&] {
                  on.until_waiting();
                  auto none = whole(F_UNLCK);
                  must(::fcntl(first, F_OFD_SETLK, &none));
              });
              on.record("OFD", [&] { return ::fcntl(second, F_OFD_SETLKW, &lock); });
              unlocking.join();
          }) ==
          "flock 0\nat once -1 EAGAIN\nshared 0\nshared 0\nbad -1 EBADF\nbad -1 EINVAL\nOFD 0\nOFD -1 EAGAIN\nOFD "
          "0\n");
}

TEST_CASE("what another process has locked is waited for, by fcntl and lockf") {
    CHECK(native_diff([](stage& on) {
              lock_file file;
              const int ours = file.open(on);
              auto lock = whole(F_WRLCK);
              {
                  holder other{file.path()};
                  on.record("at once", [&] { return ::fcntl(ours, F_SETLK, &lock); });
                  on.record("lockf, at once", [&] { return ::lockf(ours, F_TLOCK, 0); });
                  auto telling = on.start([&] {
                      on.until_waiting();
                      other.let_go();
                  });
                  on.record("fcntl", [&] { return ::fcntl(ours, F_SETLKW, &lock); });
                  telling.join();
              }
              on.record("unlock", [&] { return ::lockf(ours, F_ULOCK, 0); });
              holder other{file.path()};
              auto telling = on.start([&] {
                  on.until_waiting();
                  other.let_go();
              });
              on.record("lockf", [&] { return ::lockf64(ours, F_LOCK, 0); });
              telling.join();
              on.record("test", [&] { return ::lockf(ours, F_TEST, 0); });
              on.record("bad", [&] { return ::lockf(-1, F_LOCK, 0); });
              on.record("bad", [&] { return ::fcntl(-1, F_SETLKW, &lock); });
          }) == "at once -1 EAGAIN\nlockf, at once -1 EAGAIN\nfcntl 0\nunlock 0\nlockf 0\ntest 0\nbad -1 EBADF\nbad -1 "
                "EBADF\n");
}

TEST_CASE("fcntl and lockf wait under either name") {
    for (const auto fcntl : {&::plain_fcntl, &::fcntl_with_64})
        CHECK(native_diff([&](stage& on) {
                  lock_file file;
                  const int first = file.open(on);
                  const int second = file.open(on);
                  auto lock = whole(F_WRLCK);
                  on.record("lock", [&] { return fcntl(first, F_OFD_SETLK, &lock); });
                  auto unlocking = on.start([&] {
                      on.until_waiting();
                      auto none = whole(F_UNLCK);
                      must(fcntl(first, F_OFD_SETLK, &none));
                  });
                  on.record("wait", [&] { return fcntl(second, F_OFD_SETLKW, &lock); });
                  unlocking.join();
                  on.record("flags", [&] { return fcntl(second, F_GETFD); });
              }) == "lock 0\nwait 0\nflags 1\n");
    for (const auto lockf : {&::plain_lockf, &::lockf_with_64})
        CHECK(native_diff([&](stage& on) {
                  lock_file file;
                  const int ours = file.open(on);
                  holder other{file.path()};
                  auto telling = on.start([&] {
                      on.until_waiting();
                      other.let_go();
                  });
                  on.record("wait", [&] { return lockf(ours, F_LOCK, 0); });
                  telling.join();
                  on.record("unlock", [&] { return lockf(ours, F_ULOCK, 0); });
              }) == "wait 0\nunlock 0\n");
}

TEST_CASE("fcntl passes on what it does not know, and its argument with it") {
    CHECK(native_diff([](stage& on) {
              const auto [reader, writer] = make_pipe(on);
              on.record("size", [&] { return ::fcntl(reader, F_SETPIPE_SZ, 1 << 17); });
              on.record("size", [&] { return ::fcntl(writer, F_GETPIPE_SZ); });
              on.record("flags", [&] { return ::fcntl(writer, F_GETFD); });
              on.record("unknown", [&] { return ::fcntl(writer, 4711, 1L << 40); });
              const int copy = on.own(::fcntl(writer, F_DUPFD_CLOEXEC, 700));
              on.note(copy >= 700);
          }) == "size 131072\nsize 131072\nflags 1\nunknown -1 EINVAL\n1\n");
}
