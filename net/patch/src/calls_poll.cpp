// SPDX-License-Identifier: BSL-1.0
// poll, select, epoll_wait. The kernel is always asked first, without waiting, and again after each wake-up: what is
// reported is the kernel's own answer. The reactor only says when it is worth asking.
#include "blocking.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"
#include "signal_watch.hpp"
#include "valid_time.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <vector>

namespace coir {

namespace {

clock::time_point deadline_in(int milliseconds) noexcept
{
    return milliseconds < 0 ? never : deadline_after(std::chrono::milliseconds{milliseconds});
}

clock::time_point deadline_in(const timespec* time) noexcept
{
    return time ? deadline_after(std::chrono::seconds{time->tv_sec} + std::chrono::nanoseconds{time->tv_nsec}) : never;
}

bool is_zero(const timespec* time) noexcept
{
    return time && time->tv_sec == 0 && time->tv_nsec == 0;
}

int milliseconds_until(clock::time_point deadline) noexcept
{
    if (deadline == never)
        return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(std::max(deadline - clock::now(), clock::duration::zero()));
    return static_cast<int>(std::min<std::int64_t>(left.count(), 1 << 30));
}

constexpr timespec no_time{};

/// The answer of a call that might have waited, and need not.
int answered(int answer) noexcept
{
    done_without_waiting();
    return answer;
}

/// The protocol of this file: `ask` is the genuine call without waiting, and what it returns other than 0 is the
/// answer. `genuine` is the blocking call, for where the reactor cannot help.
template <class Ask, class Wait, class Genuine>
int ask_and_wait(clock::time_point deadline, Ask&& ask, Wait&& wait, Genuine&& genuine) noexcept
{
    for (;;) {
        const auto status = wait(deadline);
        if (status == net::wait_status::unsupported)
            return on_helper(genuine);
        if (const int error = error_of(status, 0)) {
            errno = error;
            return -1;
        }
        const int answer = ask();
        if (answer != 0 || status == net::wait_status::timed_out)
            return answer;
    }
}

// A signal mask is the kernel's business: each time it is asked, it swaps the mask in and delivers what that lets in.
// The fiber waits, beside the descriptors, for a signal that the mask would let in.

int poll_in_fiber(pollfd* items, nfds_t count, clock::time_point deadline, const sigset_t* mask = nullptr)
{
    const signal_watch signals = mask ? signal_watch{let_in_by(*mask)} : signal_watch{};
    std::vector<pollfd> with_signals;
    std::span all{items, count};
    if (signals) {
        with_signals.assign(all.begin(), all.end());
        with_signals.push_back(signals.item());
        all = with_signals;
    }
    bool closed = false;
    const auto wait = [&](clock::time_point until) {
        const auto status = net::wait_any_ready(all, until, ends_by_signal::always);
        closed = status == net::wait_status::closed;
        if (closed && signals)
            std::copy_n(all.begin(), count, items);
        return closed ? net::wait_status::ready : status;
    };
    const auto ask = [&] {
        if (!closed)
            return mask ? libc.ppoll(items, count, &no_time, mask) : libc.poll(items, count, 0);
        // Marked already, by the reactor: asking the kernel could meet the number's next owner.
        return static_cast<int>(
            std::ranges::count_if(std::span{items, count}, [](const pollfd& item) { return item.revents != 0; }));
    };
    return ask_and_wait(deadline, ask, wait, [&] { return libc.poll(items, count, milliseconds_until(deadline)); });
}

// ---- select ---------------------------------------------------------------------------------------------------------

/// One of select's three sets, of any size: the kernel goes by `count`, not by FD_SETSIZE.
class descriptor_set {
public:
    descriptor_set(fd_set* set, int count) : set_{set}, bytes_(set ? bytes_for(count) : 0)
    {
        if (set)
            std::memcpy(bytes_.data(), set, bytes_.size());
    }

    bool wants(int fd) const noexcept
    {
        // The bit order of fd_set: the lowest descriptor is the lowest bit of the first long.
        constexpr std::size_t bits = 8 * sizeof(long);
        const auto number = static_cast<std::size_t>(fd);
        if (number / 8 >= bytes_.size())
            return false;
        long word;
        std::memcpy(&word, bytes_.data() + number / bits * sizeof(long), sizeof word);
        return (static_cast<unsigned long>(word) >> number % bits) & 1;
    }
    /// What the program asked for, again: the kernel has written its answer over it.
    void restore() const noexcept
    {
        if (set_)
            std::memcpy(set_, bytes_.data(), bytes_.size());
    }

private:
    static std::size_t bytes_for(int count) noexcept
    {
        constexpr std::size_t bits = 8 * sizeof(long);
        return (static_cast<std::size_t>(count) + bits - 1) / bits * sizeof(long);
    }

    fd_set* set_;
    std::vector<std::byte> bytes_;
};

/// The kernel looks at no more descriptors than the process has had room for. That matters because programs pass
/// getdtablesize(), which may be a million, with sets of FD_SETSIZE.
int looked_at(int count) noexcept
{
    if (count <= FD_SETSIZE)
        return count;
    const int before = errno;
    int room = count;
    if (const int status = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC); status >= 0) {
        char text[4096];
        const auto size = libc.read(status, text, sizeof text - 1);
        libc.close(status);
        text[std::max<ssize_t>(size, 0)] = '\0';
        if (const char* line = std::strstr(text, "\nFDSize:"))
            room = std::atoi(line + std::strlen("\nFDSize:"));
    }
    errno = before;
    return std::min(count, room);
}

int select_in_fiber(int count, fd_set* to_read, fd_set* to_write, fd_set* exceptional, clock::time_point deadline,
                    const sigset_t* mask = nullptr)
{
    count = looked_at(count);
    const descriptor_set read_set{to_read, count};
    const descriptor_set write_set{to_write, count};
    const descriptor_set exceptional_set{exceptional, count};
    const auto ask = [&] {
        read_set.restore();
        write_set.restore();
        exceptional_set.restore();
        timeval none{};
        return mask ? libc.pselect(count, to_read, to_write, exceptional, &no_time, mask)
                    : libc.select(count, to_read, to_write, exceptional, &none);
    };
    if (const int answer = ask())
        return answered(answer);

    std::vector<pollfd> items;
    for (int fd = 0; fd < count; ++fd) {
        const int events = (read_set.wants(fd) ? POLLIN : 0) | (write_set.wants(fd) ? POLLOUT : 0) |
                           (exceptional_set.wants(fd) ? POLLPRI : 0);
        if (events)
            items.push_back({.fd = fd, .events = static_cast<short>(events), .revents = 0});
    }
    // The kernel has just found nothing wrong: what is not open lies beyond the descriptor table, whose least size is
    // one long's worth of bits, and is not looked at.
    if (!items.empty() && items.back().fd >= std::numeric_limits<unsigned long>::digits) {
        libc.poll(items.data(), items.size(), 0);
        std::erase_if(items, [](const pollfd& item) { return item.revents & POLLNVAL; });
    }
    const signal_watch signals = mask ? signal_watch{let_in_by(*mask)} : signal_watch{};
    if (signals)
        items.push_back(signals.item());
    return ask_and_wait(
        deadline, ask,
        [&](clock::time_point until) { return net::wait_any_ready(items, until, ends_by_signal::always); },
        [&] {
            const int left = milliseconds_until(deadline);
            timeval time{.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
            read_set.restore();
            write_set.restore();
            exceptional_set.restore();
            return libc.select(count, to_read, to_write, exceptional, left < 0 ? nullptr : &time);
        });
}

/// Linux writes the time that was left back to select's argument (select(2)).
void write_back(timeval* time, clock::time_point deadline) noexcept
{
    const auto left =
        std::chrono::floor<std::chrono::microseconds>(std::max(deadline - clock::now(), clock::duration::zero()));
    time->tv_sec = static_cast<time_t>(left.count() / 1'000'000);
    time->tv_usec = static_cast<suseconds_t>(left.count() % 1'000'000);
}

/// Whether a signal waits to be let in by `mask`.
bool any_pending(const sigset_t& mask) noexcept
{
    sigset_t both;
    sigset_t pending;
    const auto let_in = let_in_by(mask);
    return ::sigpending(&pending) == 0 && ::sigandset(&both, &pending, &let_in) == 0 && !is_empty(both);
}

int epoll_in_fiber(int fd, epoll_event* events, int count, clock::time_point deadline,
                   const sigset_t* mask = nullptr) noexcept
{
    const auto ask = [&] {
        const int answer = libc.epoll_wait(fd, events, count, 0);
        // Where it does not wait, epoll_pwait looks for no signal. Where one is pending, it does not wait either.
        return answer == 0 && mask && any_pending(*mask) ? libc.epoll_pwait(fd, events, count, 1, mask) : answer;
    };
    if (const int answer = ask())
        return answered(answer);
    const signal_watch signals = mask ? signal_watch{let_in_by(*mask)} : signal_watch{};
    const auto wait = [&](clock::time_point until) {
        if (!signals)
            return net::wait_ready(fd, POLLIN, until, ends_by_signal::always);
        pollfd both[]{{.fd = fd, .events = POLLIN, .revents = 0}, signals.item()};
        return net::wait_any_ready(both, until, ends_by_signal::always);
    };
    return ask_and_wait(deadline, ask, wait,
                        [&] { return libc.epoll_pwait(fd, events, count, milliseconds_until(deadline), mask); });
}

} // namespace

COIR_INTERPOSE int poll(pollfd* items, nfds_t count, int timeout)
{
    if (outside())
        return libc.poll(items, count, timeout);
    if (const int answer = libc.poll(items, count, 0); answer != 0 || timeout == 0)
        return timeout == 0 ? answer : answered(answer);
    return poll_in_fiber(items, count, deadline_in(timeout));
}

/// libnsl's name for it.
COIR_INTERPOSE int __poll(pollfd* items, nfds_t count, int timeout)
{
    return coir::poll(items, count, timeout);
}

COIR_INTERPOSE int ppoll(pollfd* items, nfds_t count, const timespec* timeout, const sigset_t* mask)
{
    if (outside() || (timeout && (is_zero(timeout) || !valid(*timeout))))
        return libc.ppoll(items, count, timeout, mask);
    try {
        if (const int answer = mask ? libc.ppoll(items, count, &no_time, mask) : libc.poll(items, count, 0))
            return answered(answer);
        return poll_in_fiber(items, count, deadline_in(timeout), mask);
    } catch (const std::bad_alloc&) {
        errno = ENOMEM;
        return -1;
    }
}

COIR_INTERPOSE int select(int count, fd_set* to_read, fd_set* to_write, fd_set* exceptional, timeval* timeout)
{
    const bool at_once = timeout && timeout->tv_sec <= 0 && timeout->tv_usec <= 0;
    if (outside() || at_once || count < 0 || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
        return libc.select(count, to_read, to_write, exceptional, timeout);
    const auto deadline =
        timeout ? deadline_after(std::chrono::seconds{timeout->tv_sec} + std::chrono::microseconds{timeout->tv_usec})
                : never;
    try {
        const int answer = select_in_fiber(count, to_read, to_write, exceptional, deadline);
        if (timeout)
            write_back(timeout, deadline);
        return answer;
    } catch (const std::bad_alloc&) {
        errno = ENOMEM;
        return -1;
    }
}

COIR_INTERPOSE int pselect(int count, fd_set* to_read, fd_set* to_write, fd_set* exceptional, const timespec* timeout,
                           const sigset_t* mask)
{
    if (outside() || is_zero(timeout) || count < 0 || (timeout && !valid(*timeout)))
        return libc.pselect(count, to_read, to_write, exceptional, timeout, mask);
    try {
        return select_in_fiber(count, to_read, to_write, exceptional, deadline_in(timeout), mask);
    } catch (const std::bad_alloc&) {
        errno = ENOMEM;
        return -1;
    }
}

COIR_INTERPOSE int epoll_wait(int fd, epoll_event* events, int count, int timeout)
{
    if (outside() || timeout == 0)
        return libc.epoll_wait(fd, events, count, timeout);
    return epoll_in_fiber(fd, events, count, deadline_in(timeout));
}

COIR_INTERPOSE int epoll_pwait(int fd, epoll_event* events, int count, int timeout, const sigset_t* mask)
{
    if (outside() || timeout == 0)
        return libc.epoll_pwait(fd, events, count, timeout, mask);
    return epoll_in_fiber(fd, events, count, deadline_in(timeout), mask);
}

COIR_INTERPOSE int epoll_pwait2(int fd, epoll_event* events, int count, const timespec* timeout, const sigset_t* mask)
{
    if (outside() || (timeout && (is_zero(timeout) || !valid(*timeout))))
        return libc.epoll_pwait2(fd, events, count, timeout, mask);
    return epoll_in_fiber(fd, events, count, deadline_in(timeout), mask);
}

// Fortified twins. An array that is too small is for the genuine one, which aborts.

COIR_INTERPOSE int __poll_chk(pollfd* items, nfds_t count, int timeout, size_t room)
{
    return room / sizeof *items < count ? libc.poll_chk(items, count, timeout, room)
                                        : coir::poll(items, count, timeout);
}

COIR_INTERPOSE int __ppoll_chk(pollfd* items, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t room)
{
    return room / sizeof *items < count ? libc.ppoll_chk(items, count, timeout, mask, room)
                                        : coir::ppoll(items, count, timeout, mask);
}

} // namespace coir
