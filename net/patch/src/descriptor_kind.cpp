// SPDX-License-Identifier: BSL-1.0
#include "descriptor_kind.hpp"

#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace coir {

constinit std::atomic<descriptor_kind> kinds[remembered_kinds]{};

namespace {

bool can_be_watched(int descriptor) noexcept
{
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return true;
    epoll_event event{.events = EPOLLIN, .data = {}};
    const bool refused = ::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0 && errno == EPERM;
    ::close(epoll);
    return !refused;
}

descriptor_kind look(int descriptor) noexcept
{
    struct stat status;
    if (::fstat(descriptor, &status) != 0)
        return descriptor_kind::unknown;
    if (S_ISSOCK(status.st_mode))
        return descriptor_kind::socket;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISBLK(status.st_mode))
        return descriptor_kind::file;
    if (S_ISCHR(status.st_mode) && !can_be_watched(descriptor))
        return descriptor_kind::file;
    return descriptor_kind::stream;
}

} // namespace

descriptor_kind find_kind(int descriptor) noexcept
{
    const int saved = errno;
    const auto kind = look(descriptor);
    set_kind(descriptor, kind);
    errno = saved;
    return kind;
}

void set_kind(int descriptor, descriptor_kind kind) noexcept
{
    const auto number = static_cast<std::size_t>(static_cast<unsigned>(descriptor));
    if (number < remembered_kinds && kinds[number].load(std::memory_order_relaxed) != kind)
        kinds[number].store(kind, std::memory_order_relaxed);
}

descriptor_kind kind_without_nowait(int descriptor) noexcept
{
    const int saved = errno;
    char path[32];
    char target[32]{};
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    const bool known = ::readlink(path, target, sizeof target - 1) > 0;
    errno = saved;
    return known && std::strcmp(target, "anon_inode:[eventfd]") == 0 ? descriptor_kind::event
                                                                     : descriptor_kind::pollable;
}

void forget_kinds(unsigned first, unsigned last) noexcept
{
    for (std::size_t number = first; number <= std::min<std::size_t>(last, remembered_kinds - 1); ++number)
        forget_kind(static_cast<int>(number));
}

} // namespace coir
