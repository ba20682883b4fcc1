// SPDX-License-Identifier: BSL-1.0
// Message queues and semaphores between processes, and asynchronous I/O. A POSIX queue is a descriptor that can be
// waited for, and a call with a time that has passed is one that does not wait. System V has IPC_NOWAIT and nothing to
// wait for: what is not ready at once waits on a helper thread.
#include "blocking.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "lock_deadline.hpp"
#include "on_helper.hpp"

#include <aio.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include <algorithm>
#include <array>

namespace coir {

namespace {

constexpr timespec passed{.tv_sec = 0, .tv_nsec = 0};

/// `call(time)` is the genuine call with that time.
template <class Call>
auto on_queue(mqd_t queue, direction way, const timespec* time, Call&& call) noexcept -> decltype(call(time))
{
    if (!valid_nanoseconds(time) || (time && time->tv_sec < 0))
        return call(time); // which says so
    const int before = errno;
    auto result = call(&passed);
    if (result != -1 || errno != ETIMEDOUT)
        return result;
    const auto deadline = lock_deadline(CLOCK_REALTIME, time);
    const short events = way == direction::read ? POLLIN : POLLOUT;
    do {
        auto status = net::wait_ready(queue, events, deadline, ends_by_signal::unless_restarted);
        if (status == net::wait_status::unsupported)
            status = wait_on_helper(queue, events, deadline);
        errno = error_of(status, ETIMEDOUT);
        if (errno)
            return -1;
        result = call(&passed);
    } while (result == -1 && errno == ETIMEDOUT);
    if (result != -1)
        errno = before;
    return result;
}

/// `call(flags)`, as it is on a helper thread after it has failed with `not_yet` where it does not wait.
template <class Call> auto on_system_v(int flags, int not_yet, Call&& call) noexcept -> decltype(call(flags))
{
    if (flags & IPC_NOWAIT)
        return call(flags);
    const int before = errno;
    const auto result = call(flags | IPC_NOWAIT);
    if (result != -1 || errno != not_yet)
        return result;
    errno = before;
    return on_helper([&] { return call(flags); });
}

/// The same for a list of operations, which are done all or not at all.
template <class Call> int on_semaphores(sembuf* operations, size_t count, Call&& call) noexcept
{
    constexpr size_t most = 32;
    std::array<sembuf, most> at_once{};
    if (count == 0 || count > most)
        return on_helper([&] { return call(operations); });
    std::copy_n(operations, count, at_once.begin());
    for (auto& each : at_once)
        each.sem_flg = static_cast<short>(each.sem_flg | IPC_NOWAIT);
    const int before = errno;
    const int result = call(at_once.data());
    if (result != -1 || errno != EAGAIN)
        return result;
    errno = before;
    return on_helper([&] { return call(operations); });
}

} // namespace

// ---- POSIX ----------------------------------------------------------------------------------------------------------

// Null is "for ever" here, which the declarations of the timed calls do not allow for.

static ssize_t receive_in_fiber(mqd_t queue, char* data, size_t size, unsigned* priority, const timespec* time) noexcept
{
    return on_queue(queue, direction::read, time,
                    [&](const timespec* until) { return libc.mq_timedreceive(queue, data, size, priority, until); });
}

static int send_in_fiber(mqd_t queue, const char* data, size_t size, unsigned priority, const timespec* time) noexcept
{
    return on_queue(queue, direction::write, time,
                    [&](const timespec* until) { return libc.mq_timedsend(queue, data, size, priority, until); });
}

COIR_INTERPOSE ssize_t mq_receive(mqd_t queue, char* data, size_t size, unsigned* priority)
{
    return outside() ? libc.mq_receive(queue, data, size, priority)
                     : receive_in_fiber(queue, data, size, priority, nullptr);
}

COIR_INTERPOSE ssize_t mq_timedreceive(mqd_t queue, char* data, size_t size, unsigned* priority, const timespec* time)
{
    return outside() ? libc.mq_timedreceive(queue, data, size, priority, time)
                     : receive_in_fiber(queue, data, size, priority, time);
}

COIR_INTERPOSE int mq_send(mqd_t queue, const char* data, size_t size, unsigned priority)
{
    return outside() ? libc.mq_send(queue, data, size, priority) : send_in_fiber(queue, data, size, priority, nullptr);
}

COIR_INTERPOSE int mq_timedsend(mqd_t queue, const char* data, size_t size, unsigned priority, const timespec* time)
{
    return outside() ? libc.mq_timedsend(queue, data, size, priority, time)
                     : send_in_fiber(queue, data, size, priority, time);
}

// ---- System V -------------------------------------------------------------------------------------------------------

COIR_INTERPOSE ssize_t msgrcv(int queue, void* message, size_t size, long type, int flags)
{
    if (outside())
        return libc.msgrcv(queue, message, size, type, flags);
    return on_system_v(flags, ENOMSG, [&](int how) { return libc.msgrcv(queue, message, size, type, how); });
}

COIR_INTERPOSE int msgsnd(int queue, const void* message, size_t size, int flags)
{
    if (outside())
        return libc.msgsnd(queue, message, size, flags);
    return on_system_v(flags, EAGAIN, [&](int how) { return libc.msgsnd(queue, message, size, how); });
}

COIR_INTERPOSE int semop(int set, sembuf* operations, size_t count) noexcept
{
    if (outside())
        return libc.semop(set, operations, count);
    return on_semaphores(operations, count, [&](sembuf* list) { return libc.semop(set, list, count); });
}

COIR_INTERPOSE int semtimedop(int set, sembuf* operations, size_t count, const timespec* time) noexcept
{
    if (outside())
        return libc.semtimedop(set, operations, count, time);
    return on_semaphores(operations, count, [&](sembuf* list) { return libc.semtimedop(set, list, count, time); });
}

// ---- asynchronous I/O -----------------------------------------------------------------------------------------------

COIR_INTERPOSE int aio_suspend(const aiocb* const list[], int count, const timespec* time)
{
    return outside() ? libc.aio_suspend(list, count, time)
                     : on_helper([&] { return libc.aio_suspend(list, count, time); });
}

COIR_INTERPOSE int aio_suspend64(const aiocb64* const list[], int count, const timespec* time)
{
    return coir::aio_suspend(reinterpret_cast<const aiocb* const*>(list), count, time); // the same on 64-bit Linux
}

} // namespace coir
