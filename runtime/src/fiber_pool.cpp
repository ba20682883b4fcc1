// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber_pool.hpp>

#include <stdexcept>

namespace coir {

fiber_pool::fiber_pool(std::size_t concurrency) : room_{static_cast<std::ptrdiff_t>(concurrency)}
{
    if (concurrency == 0)
        throw std::invalid_argument{"coir::fiber_pool: it must have room for one fiber at least"};
}

void fiber_pool::cancel() noexcept
{
    closed_.store(true, std::memory_order_relaxed);
    fibers_.cancel();
}

void fiber_pool::note_failure() noexcept
{
    try {
        throw;
    } catch (const timed_out&) {
        closed_.store(true, std::memory_order_relaxed); // a fiber that ends so has failed
    } catch (const cancelled&) {
        // The way a cancelled fiber ends.
    } catch (...) {
        closed_.store(true, std::memory_order_relaxed);
    }
}

} // namespace coir
