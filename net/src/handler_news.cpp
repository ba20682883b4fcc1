// SPDX-License-Identifier: BSL-1.0
#include "handler_news.hpp"

#include "reactor.hpp"

#include <coir/fiber.hpp>
#include <coir/net/handler_news.hpp>
#include <coir/own_descriptors.hpp>

#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <unistd.h>

namespace coir::net {

namespace {

constinit std::atomic<int> event{-1};
constinit std::atomic<news_receiver*> receiver{nullptr};
constinit std::atomic<int> writing{0}; ///< handlers that are about to use it
constinit spin_lock guard;             ///< for opening and closing
constinit int reactors = 0;

int make_event() noexcept
{
    const own_descriptors_scope ours;
    const int before = errno;
    const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    errno = before;
    return made;
}

void close_event() noexcept
{
    const int descriptor = event.exchange(-1, std::memory_order_seq_cst);
    while (writing.load(std::memory_order_seq_cst) != 0) // on another thread: here, handlers end first
        ::syscall(SYS_sched_yield);
    if (descriptor < 0)
        return;
    const own_descriptors_scope ours;
    ::close(descriptor);
}

} // namespace

int handler_news::join() noexcept
{
    const std::lock_guard held{guard};
    if (reactors++ == 0)
        event.store(make_event(), std::memory_order_release);
    return event.load(std::memory_order_relaxed);
}

void handler_news::leave() noexcept
{
    const std::lock_guard held{guard};
    if (--reactors == 0)
        close_event();
}

void handler_news::start_over_in_child() noexcept
{
    guard.unlock(); // who may have held it is not here, nor are handlers on other threads
    writing.store(0, std::memory_order_relaxed);
    reactors = 0;
    close_event();
}

void handler_news::deliver() noexcept
{
    if (auto* const receive = receiver.load(std::memory_order_acquire))
        receive();
}

void receive_news(news_receiver* receive) noexcept
{
    receiver.store(receive, std::memory_order_release);
}

bool listen_for_news() noexcept
{
    if (!this_fiber::active())
        return false;
    try {
        reactor::of_this_hub();
        return event.load(std::memory_order_relaxed) >= 0;
    } catch (const std::exception&) {
        return false;
    }
}

bool post_news() noexcept
{
    const int before = errno;
    writing.fetch_add(1, std::memory_order_seq_cst);
    const int descriptor = event.load(std::memory_order_seq_cst);
    const std::uint64_t one = 1;
    if (descriptor >= 0)
        ::syscall(SYS_write, descriptor, &one, sizeof one);
    writing.fetch_sub(1, std::memory_order_seq_cst);
    errno = before;
    return descriptor >= 0;
}

} // namespace coir::net
