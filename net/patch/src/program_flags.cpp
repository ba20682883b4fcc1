// SPDX-License-Identifier: BSL-1.0
#include "program_flags.hpp"

#include "libc.hpp"

#include <coir/spin_lock.hpp>

#include <fcntl.h>
#include <pthread.h>

#include <memory>
#include <mutex>

namespace coir {

namespace {

constinit spin_lock guard;

/// Another thread may hold it at the moment of a fork, and is not there in the child.
[[gnu::constructor]] void watch_forks() noexcept
{
    ::pthread_atfork(nullptr, nullptr, [] { std::construct_at(&guard); });
}

} // namespace

int program_flags(int descriptor) noexcept
{
    const std::lock_guard held{guard};
    return libc.fcntl(descriptor, F_GETFL, 0);
}

flags_changed::flags_changed() noexcept
{
    guard.lock();
}

flags_changed::~flags_changed()
{
    guard.unlock();
}

} // namespace coir
