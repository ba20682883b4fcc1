// SPDX-License-Identifier: BSL-1.0
// What waits for the disk, and queues and semaphores between processes.
#include "descriptors.hpp"

#include <coir/deadline.hpp>

#include <doctest/doctest.h>

#include <aio.h>
#include <fcntl.h>
#include <grp.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>

extern "C" { // with 64-bit offsets, which the build asks for, <aio.h> calls the one with 64
int plain_aio_suspend(const aiocb* const*, int, const timespec*) __asm__("aio_suspend");
int aio_suspend_with_64(const aiocb* const*, int, const timespec*) __asm__("aio_suspend64");
}

namespace {

/// A queue with room for two messages of eight bytes, without a name.
int make_queue(stage& on, int flags = 0)
{
    static std::atomic<int> number{0};
    const auto name = "/coir-" + std::to_string(::getpid()) + '-' + std::to_string(++number);
    mq_attr attributes{};
    attributes.mq_maxmsg = 2;
    attributes.mq_msgsize = 8;
    const mqd_t queue = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0600, &attributes);
    ::mq_unlink(name.c_str());
    return on.own(queue);
}

struct message {
    long type;
    char text[8];
};

/// Removed at the end.
struct system_v {
    int queue = must(::msgget(IPC_PRIVATE, 0600));
    int semaphores = must(::semget(IPC_PRIVATE, 2, 0600));
    system_v() = default;
    system_v(const system_v&) = delete;
    system_v& operator=(const system_v&) = delete;
    ~system_v()
    {
        ::msgctl(queue, IPC_RMID, nullptr);
        ::semctl(semaphores, 0, IPC_RMID);
    }
};

} // namespace

TEST_CASE("fsync and its kin say of files and pipes what they say on a thread") {
    CHECK(native_diff([](stage& on) {
              const int file = make_file(on, "text");
              const auto [ours, theirs] = make_pipe(on);
              on.record("fsync", [&] { return ::fsync(file); });
              on.record("fdatasync", [&] { return ::fdatasync(file); });
              on.record("syncfs", [&] { return ::syncfs(file); });
              ::sync();
              on.note("sync");
              on.record("fsync", [&] { return ::fsync(ours); });
              on.record("fdatasync", [&] { return ::fdatasync(-1); });
              void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
              on.record("msync", [&] { return ::msync(page, 4096, MS_SYNC); });
              on.record("msync", [&] { return ::msync(page, 4096, MS_ASYNC); });
              on.record("msync", [&] { return ::msync(static_cast<char*>(page) + 1, 1, MS_SYNC); });
              ::munmap(page, 4096);
          }) == "fsync 0\nfdatasync 0\nsyncfs 0\nsync\nfsync -1 EINVAL\nfdatasync -1 EBADF\nmsync 0\nmsync 0\n"
                "msync -1 EINVAL\n");
}

TEST_CASE("a message queue is waited for at both ends") {
    CHECK(native_diff([](stage& on) {
              const int queue = make_queue(on);
              char bytes[8];
              unsigned priority = 0;
              {
                  auto sending = on.start([&] {
                      on.until_waiting();
                      must(::mq_send(queue, "late", 5, 3));
                  });
                  on.record("receive", [&] { return ::mq_receive(queue, bytes, sizeof bytes, &priority); });
                  on.note(bytes, priority);
              }
              must(::mq_send(queue, "1", 2, 0));
              must(::mq_send(queue, "2", 2, 1));
              auto receiving = on.start([&] {
                  on.until_waiting();
                  must(::mq_receive(queue, bytes, sizeof bytes, nullptr));
              });
              on.record("send", [&] { return ::mq_send(queue, "3", 2, 0); });
              receiving.join();
              on.note(bytes);
          }) == "receive 5\nlate 3\nsend 0\n2\n");
}

TEST_CASE("a message queue answers as the kernel does when it is full, empty, late or wrong") {
    CHECK(native_diff([](stage& on) {
              const int queue = make_queue(on);
              const int quick = make_queue(on, O_NONBLOCK);
              char bytes[8];
              const timespec past{.tv_sec = 1, .tv_nsec = 0};
              const timespec wrong{.tv_sec = 1, .tv_nsec = -1};
              timespec soon{};
              ::clock_gettime(CLOCK_REALTIME, &soon);
              soon.tv_nsec = 0;
              on.record("past", [&] { return ::mq_timedreceive(queue, bytes, 8, nullptr, &past); });
              on.record("soon", [&] { return ::mq_timedreceive(queue, bytes, 8, nullptr, &soon); });
              on.record("wrong", [&] { return ::mq_timedreceive(queue, bytes, 8, nullptr, &wrong); });
              on.record("quick", [&] { return ::mq_receive(quick, bytes, 8, nullptr); });
              on.record("short", [&] { return ::mq_receive(queue, bytes, 7, nullptr); });
              on.record("long", [&] { return ::mq_send(queue, "123456789", 9, 0); });
              on.record("none", [&] { return ::mq_send(-1, "1", 1, 0); });
              must(::mq_send(queue, "1", 1, 0));
              must(::mq_send(queue, "1", 1, 0));
              on.record("full", [&] { return ::mq_timedsend(queue, "1", 1, 0, &past); });
          }) == "past -1 ETIMEDOUT\nsoon -1 ETIMEDOUT\nwrong -1 EINVAL\nquick -1 EAGAIN\nshort -1 EMSGSIZE\n"
                "long -1 EMSGSIZE\nnone -1 EBADF\nfull -1 ETIMEDOUT\n");
}

TEST_CASE("a timeout and a cancellation end the wait for a message queue") {
    CHECK(in_fiber([](stage& on) {
              const int queue = make_queue(on);
              char bytes[8];
              {
                  const coir::timeout limit{std::chrono::milliseconds{2}};
                  on.record("receive", [&] { return ::mq_receive(queue, bytes, 8, nullptr); });
              }
              auto cancelled =
                  on.start([&] { on.record("receive", [&] { return ::mq_receive(queue, bytes, 8, nullptr); }); });
              on.until_waiting(cancelled.who());
              cancelled.cancel();
          }) == "receive -1 ETIMEDOUT\nreceive -1 ECANCELED\n");
}

TEST_CASE("System V's queues and semaphores are waited for") {
    CHECK(native_diff([](stage& on) {
              const system_v things;
              message text{};
              on.record("none", [&] { return ::msgrcv(things.queue, &text, 8, 0, IPC_NOWAIT); });
              {
                  auto sending = on.start([&] {
                      on.until_waiting();
                      const message hello{.type = 4, .text = "hello"};
                      must(::msgsnd(things.queue, &hello, 8, 0));
                  });
                  on.record("receive", [&] { return ::msgrcv(things.queue, &text, 8, 0, 0); });
                  on.note(text.type, text.text);
              }
              const message wrong{.type = 0, .text = ""};
              on.record("wrong", [&] { return ::msgsnd(things.queue, &wrong, 8, 0); });

              sembuf take[2]{{.sem_num = 0, .sem_op = -1, .sem_flg = 0}, {.sem_num = 1, .sem_op = -2, .sem_flg = 0}};
              sembuf give[2]{{.sem_num = 0, .sem_op = 1, .sem_flg = 0}, {.sem_num = 1, .sem_op = 2, .sem_flg = 0}};
              on.record("give", [&] { return ::semop(things.semaphores, give, 2); });
              on.record("take", [&] { return ::semop(things.semaphores, take, 2); });
              auto giving = on.start([&] {
                  on.until_waiting();
                  must(::semop(things.semaphores, give, 2));
              });
              on.record("wait", [&] { return ::semop(things.semaphores, take, 2); });
              giving.join();
              const timespec little{.tv_sec = 0, .tv_nsec = 1'000'000};
              on.record("late", [&] { return ::semtimedop(things.semaphores, take, 2, &little); });
              take[0].sem_num = 7;
              on.record("range", [&] { return ::semop(things.semaphores, take, 2); });
              on.record("nothing", [&] { return ::semop(things.semaphores, take, 0); });
          }) == "none -1 ENOMSG\nreceive 8\n4 hello\nwrong -1 EINVAL\ngive 0\ntake 0\nwait 0\nlate -1 EAGAIN\n"
                "range -1 EFBIG\nnothing -1 EINVAL\n");
}

TEST_CASE("asynchronous reads are waited for, under either name") {
    for (const auto suspend : {&::plain_aio_suspend, &::aio_suspend_with_64})
        CHECK(native_diff([&](stage& on) {
                  const auto [ours, theirs] = make_pipe(on);
                  char byte = 0;
                  aiocb read{};
                  read.aio_fildes = ours;
                  read.aio_buf = &byte;
                  read.aio_nbytes = 1;
                  must(::aio_read(&read));
                  const aiocb* const list[]{&read};
                  const timespec none{};
                  on.record("too soon", [&] { return suspend(list, 1, &none); });
                  auto writing = on.start([&, end = theirs] {
                      on.until_waiting();
                      must(::write(end, "x", 1));
                  });
                  on.record("suspend", [&] { return suspend(list, 1, nullptr); });
                  on.note(::aio_error(&read), ::aio_return(&read), byte);
              }) == "too soon -1 EAGAIN\nsuspend 0\n0 1 x\n");
}

TEST_CASE("initgroups of nobody in particular leaves the groups as they are") {
    native_diff([](stage& on) {
        gid_t before[256];
        const int count = ::getgroups(256, before);
        on.record("initgroups", [&] { return ::initgroups("no-such-user", ::getgid()); });
        static_cast<void>(::setgroups(static_cast<size_t>(count), before));
    });
}
