// SPDX-License-Identifier: BSL-1.0
// No system call opens a descriptor above a number, other than one that copies, and Asio opens its own. So for a moment
// the lower numbers are all taken.
#include "own_descriptors.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <pthread.h>
#include <span>
#include <unistd.h>

namespace coir {

constinit own_descriptors::range own_descriptors::ours;

namespace {

constexpr int preferred = 300; // above what shells use for themselves (bash: 255)
constexpr int most = 12;       // of one hub

constinit std::array<int, preferred> fillers{};
constinit int filler_count = 0;
constinit int target = 0;

// Not close, which is patched.
void close_filler(int descriptor) noexcept
{
    ::syscall(SYS_close, descriptor);
}

void fill() noexcept
{
    const int before = errno;
    own_descriptors::ours = {}; // a forked child closes its parent's
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    target = std::max(3, static_cast<int>(std::min<rlim_t>(limit.rlim_cur, preferred + most)) - most);
    filler_count = 0;
    const int first = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    int next = first;
    for (; next >= 0 && next < target; next = ::fcntl(first, F_DUPFD_CLOEXEC, next + 1))
        fillers[static_cast<std::size_t>(filler_count++)] = next;
    if (next >= target)
        close_filler(next);
    errno = before;
}

void release() noexcept
{
    const int before = errno;
    const std::span<const int> taken{fillers.data(), static_cast<std::size_t>(filler_count)};
    for (std::size_t first = 0, next; first < taken.size(); first = next) {
        // In order, and mostly without gaps.
        for (next = first + 1; next < taken.size() && taken[next] == taken[next - 1] + 1;)
            ++next;
        if (::syscall(SYS_close_range, taken[first], taken[next - 1], 0) != 0) // before Linux 5.9
            std::for_each(&taken[first], &taken[first] + (next - first), close_filler);
    }
    int last = target + most;
    while (last >= target && ::fcntl(last, F_GETFD) < 0)
        --last;
    own_descriptors::ours = {target, last};
    errno = before;
}

} // namespace

void own_descriptors::begin() noexcept
{
    static const int registered = ::pthread_atfork(nullptr, nullptr, fill);
    static_cast<void>(registered);
    fill();
}

void own_descriptors::end() noexcept
{
    release();
    static const int registered = ::pthread_atfork(nullptr, nullptr, release);
    static_cast<void>(registered);
}

} // namespace coir
