// SPDX-License-Identifier: BSL-1.0
#include "child_watch.hpp"

#include "blocking.hpp"
#include "libc.hpp"
#include "own_descriptors.hpp"
#include "parking_lot.hpp"

#include <coir/net/readiness.hpp>
#include <coir/offload.hpp>
#include <coir/spin_lock.hpp>

#include <pthread.h>
#include <sys/syscall.h>

#include <cerrno>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

namespace coir {

namespace {

/// What a helper thread waits for; lives until the helper and all who wait have left.
struct helper_wait final : offload_job {
    explicit helper_wait(const child_choice& what) noexcept : choice{what} {}
    void run() noexcept override;

    child_choice choice;
    std::atomic<bool> done{false};
    std::shared_ptr<helper_wait> keep; ///< itself, until it is done
    helper_wait* following = nullptr;  ///< in the list of those that are not
};

constinit spin_lock list_guard;
constinit helper_wait* all_waits = nullptr;

/// In a forked child there are no helpers.
[[gnu::constructor]] void watch_forks() noexcept
{
    ::pthread_atfork(nullptr, nullptr, [] {
        std::construct_at(&list_guard);
        all_waits = nullptr;
    });
}

/// Takes it out of the list and wakes who waits.
void finish(helper_wait& ended) noexcept
{
    std::shared_ptr<helper_wait> last;
    {
        const std::lock_guard held{list_guard};
        last = std::move(ended.keep);
        auto** place = &all_waits;
        while (*place && *place != &ended)
            place = &(*place)->following;
        if (*place)
            *place = ended.following;
    }
    ended.done.store(true, std::memory_order_seq_cst);
    parking_lot::unpark(&ended, std::numeric_limits<std::size_t>::max());
}

void helper_wait::run() noexcept
{
    siginfo_t ignored{};
    while (libc.waitid(choice.kind, choice.id, &ignored, choice.events | WNOWAIT) == -1 && errno == EINTR)
        continue;
    finish(*this);
}

std::shared_ptr<helper_wait> find(const child_choice& choice) noexcept
{
    for (auto* each = all_waits; each; each = each->following)
        if (each->choice == choice)
            return each->keep;
    return nullptr;
}

/// Throws std::bad_alloc, or std::system_error where no helper thread can be started.
std::shared_ptr<helper_wait> find_or_start(const child_choice& choice)
{
    auto made = std::make_shared<helper_wait>(choice);
    made->keep = made;
    {
        const std::lock_guard held{list_guard};
        if (auto found = find(choice)) {
            made->keep.reset(); // not the last reference
            return found;
        }
        made->following = std::exchange(all_waits, made.get());
    }
    try {
        offload_submit(*made);
    } catch (...) {
        finish(*made);
        throw;
    }
    return made;
}

bool notified_in_time(wake_cause cause) noexcept
{
    if (cause == wake_cause::cancelled || cause == wake_cause::deadline || cause == wake_cause::handled) {
        errno = errno_of(cause);
        return false;
    }
    return true;
}

} // namespace

child_watch::child_watch(const child_choice& choice) noexcept : choice_{choice}
{
    if ((choice.events & (WSTOPPED | WCONTINUED)) != 0)
        return;
    if (choice.kind == P_PIDFD) {
        pidfd_ = static_cast<int>(choice.id);
    } else if (choice.kind == P_PID) {
        const int before = errno;
        pidfd_ = own_descriptors::keep(static_cast<int>(libc.syscall(SYS_pidfd_open, choice.id, 0, 0, 0, 0, 0)));
        owned_ = pidfd_ >= 0;
        errno = before;
    }
}

child_watch::~child_watch()
{
    if (!owned_)
        return;
    const int before = errno;
    net::about_to_close(pidfd_);
    own_descriptors::forget(pidfd_);
    libc.close(pidfd_);
    errno = before;
}

bool child_watch::wait() noexcept
{
    return pidfd_ >= 0 ? wait_for_pidfd() : wait_for_helper();
}

bool child_watch::wait_for_pidfd() noexcept
{
    auto status = net::wait_ready(pidfd_, POLLIN, never, ends_by_signal::unless_restarted);
    if (status == net::wait_status::unsupported)
        status = wait_on_helper(pidfd_, POLLIN, never);
    errno = error_of(status, 0);
    return status == net::wait_status::ready;
}

bool child_watch::wait_for_helper() noexcept
{
    // Children of this thread only: no other thread can wait for those.
    constexpr auto pause = std::chrono::milliseconds{10};
    const bool nobody_else = choice_.events & __WNOTHREAD;
    std::shared_ptr<helper_wait> helper;
    try {
        if (!nobody_else)
            helper = find_or_start(choice_);
    } catch (...) {
        helper = nullptr; // no memory, or no thread
    }
    if (!helper)
        return notified_in_time(park_until(
            {.reason = {"child"}, .deadline = deadline_after(pause), .signals = ends_by_signal::unless_restarted}));
    const outside_work counted;
    return notified_in_time(parking_lot::park(helper.get(),
                                              {.reason = {"child"}, .signals = ends_by_signal::unless_restarted},
                                              [&] { return !helper->done.load(std::memory_order_seq_cst); }));
}

} // namespace coir
