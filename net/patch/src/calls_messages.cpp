// SPDX-License-Identifier: BSL-1.0
// recvmmsg and sendmmsg: several messages in one call.
#include "blocking.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "remaining_parts.hpp"
#include "socket_io.hpp"
#include "valid_time.hpp"

#include <algorithm>

namespace coir {

namespace {

/// An error that the kernel keeps for the next call: one that has messages to report must not take it away.
bool error_pending(int fd) noexcept
{
    pollfd one{.fd = fd, .events = 0, .revents = 0};
    return libc.poll(&one, 1, 0) > 0 && (one.revents & POLLERR);
}

size_t size_of(const msghdr& message) noexcept
{
    return total_size(message.msg_iov, static_cast<int>(message.msg_iovlen));
}

/// The time-out of recvmmsg is looked at after each message only (recvmmsg(2), bugs), and what is left is written back.
class message_time {
public:
    explicit message_time(timespec* limit) noexcept
        : limit_{limit},
          end_{limit ? deadline_after(std::chrono::seconds{limit->tv_sec} + std::chrono::nanoseconds{limit->tv_nsec})
                     : never}
    {
    }

    /// Whether it has run out.
    bool write_back() const noexcept
    {
        if (!limit_)
            return false;
        const auto left = std::max(end_ - clock::now(), clock::duration::zero());
        const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
        *limit_ = {.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
        return left == clock::duration::zero();
    }

private:
    timespec* limit_;
    clock::time_point end_;
};

/// Tries once: as many as there are; or one, and waits for the rest of it, where a message is not just what is there.
int try_receive(int fd, mmsghdr* messages, unsigned count, int flags, bool one_by_one) noexcept
{
    if (one_by_one) {
        pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
        if (libc.poll(&one, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        const auto size = receive_message(fd, &messages->msg_hdr, flags);
        if (size < 0)
            return -1;
        messages->msg_len = static_cast<unsigned>(size);
        return 1;
    }
    const auto first_try = messages->msg_hdr;
    const int result = libc.recvmmsg(fd, messages, count, flags | MSG_DONTWAIT, nullptr);
    if (result < 0)
        messages->msg_hdr = first_try; // the kernel writes lengths back even when it then fails
    return result;
}

int receive_messages(int fd, mmsghdr* messages, unsigned count, int flags, timespec* limit) noexcept
{
    const int before = errno;
    const bool only_first_waits = flags & MSG_WAITFORONE;
    const bool whole =
        (flags & MSG_WAITALL || low_water_in_use.load(std::memory_order_relaxed)) && is_stream_socket(fd);
    const message_time time{limit};
    flags &= ~MSG_WAITFORONE;
    unsigned done = 0;
    for (blocked_call call{fd, direction::read};;) {
        const unsigned at_once = limit ? 1 : count - done;
        const bool may_wait = done == 0 || !only_first_waits;
        const int result = try_receive(fd, messages + done, at_once, flags, whole && may_wait);
        if (result > 0) {
            done += static_cast<unsigned>(result);
            if (time.write_back() || done == count || messages[done - 1].msg_hdr.msg_flags & MSG_OOB)
                break;
        } else if (result == 0 || !would_block(errno) || !may_wait || !call.wait()) {
            if (done > 0)
                break;
            return result;
        }
        if (done > 0 && error_pending(fd))
            break;
    }
    errno = before;
    return static_cast<int>(done);
}

/// The rest of a message that a stream socket has taken only in part.
bool send_rest(int fd, mmsghdr& message, int flags) noexcept
{
    auto rest = message.msg_hdr;
    remaining_parts parts{rest.msg_iov, rest.msg_iovlen};
    parts.skip_to(message.msg_len);
    rest.msg_iov = const_cast<iovec*>(parts.data());
    rest.msg_iovlen = parts.size();
    rest.msg_control = nullptr; // went with the first part
    rest.msg_controllen = 0;
    if (const auto more = send_message(fd, &rest, flags | MSG_NOSIGNAL); more > 0)
        message.msg_len += static_cast<unsigned>(more);
    return message.msg_len == size_of(message.msg_hdr);
}

int send_messages(int fd, mmsghdr* messages, unsigned count, int flags) noexcept
{
    constexpr unsigned most = 1024; // the kernel takes no more (sendmmsg(2): UIO_MAXIOV)
    count = std::min(count, most);
    const int before = errno;
    unsigned done = 0;
    for (blocked_call call{fd, direction::write};;) {
        const int result = libc.sendmmsg(fd, messages + done, count - done, send_flags(flags, done));
        if (result > 0) {
            done += static_cast<unsigned>(result);
            auto& last = messages[done - 1];
            const bool whole = last.msg_len == size_of(last.msg_hdr) || send_rest(fd, last, flags);
            if (!whole || done == count)
                break;
        } else if (result == 0 || !would_block(errno) || !call.wait()) {
            if (done > 0)
                break;
            return result;
        }
    }
    errno = before;
    return static_cast<int>(done);
}

} // namespace

COIR_INTERPOSE int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* limit)
{
    if (outside() || count == 0 || flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_PEEK) || (limit && !valid(*limit)))
        return libc.recvmmsg(fd, messages, count, flags, limit);
    return receive_messages(fd, messages, count, flags, limit);
}

COIR_INTERPOSE int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags)
{
    if (outside() || count == 0 || flags & MSG_DONTWAIT)
        return libc.sendmmsg(fd, messages, count, flags);
    return send_messages(fd, messages, count, flags);
}

} // namespace coir
