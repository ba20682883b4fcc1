// SPDX-License-Identifier: BSL-1.0
// What waits for the disk, and for that alone: there is no way to try it and nothing to wait for, so a helper thread
// makes the genuine call.
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"

#include <sys/mman.h>

namespace coir {

COIR_INTERPOSE int fsync(int fd)
{
    return outside() ? libc.fsync(fd) : on_helper([&] { return libc.fsync(fd); });
}

COIR_INTERPOSE int fdatasync(int fd)
{
    return outside() ? libc.fdatasync(fd) : on_helper([&] { return libc.fdatasync(fd); });
}

COIR_INTERPOSE int syncfs(int fd) noexcept
{
    return outside() ? libc.syncfs(fd) : on_helper([&] { return libc.syncfs(fd); });
}

COIR_INTERPOSE void sync() noexcept
{
    if (outside()) {
        libc.sync();
        return;
    }
    on_helper([] {
        libc.sync();
        return 0;
    });
}

COIR_INTERPOSE int msync(void* address, size_t size, int flags)
{
    if (outside() || !(flags & MS_SYNC))
        return libc.msync(address, size, flags);
    return on_helper([&] { return libc.msync(address, size, flags); });
}

} // namespace coir
