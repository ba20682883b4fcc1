// SPDX-License-Identifier: BSL-1.0
#include "fd_table.hpp"

#include <limits>
#include <memory>
#include <new>

namespace coir::net {

constinit fd_table fd_table::all_;

fd_entry* fd_table::find_or_make(int descriptor) noexcept
{
    const auto number = static_cast<std::size_t>(static_cast<unsigned>(descriptor));
    if (number >= page_entries * page_count)
        return nullptr;
    auto& place = pages_[number / page_entries];
    auto* found = place.load(std::memory_order_acquire);
    if (!found) {
        auto* made = new (std::nothrow) page;
        if (!made)
            return nullptr;
        if (place.compare_exchange_strong(found, made, std::memory_order_acq_rel))
            found = made;
        else
            delete made; // another thread was first
    }
    return &found->entries[number % page_entries];
}

void fd_table::start_over_in_child() noexcept
{
    for_each(0, std::numeric_limits<std::size_t>::max(), [](int, fd_entry& entry) {
        // Streams have noted it, and must not find the same number for something else.
        const auto arrivals = entry.arrivals.load(std::memory_order_relaxed) + 1;
        std::construct_at(&entry);
        entry.arrivals.store(arrivals, std::memory_order_relaxed);
    });
}

} // namespace coir::net
