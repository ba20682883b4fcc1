// SPDX-License-Identifier: BSL-1.0
#pragma once
// What we know of each descriptor: who waits for it, and which reactor watches it. One entry for each number, found
// without a lock, for the life of the process. It is the second of coir's two globals, because descriptors belong to
// the process: any thread may close one that a fiber of any hub waits for.
//
// A number is reused at once after a close, so an entry has a generation:
//
//     epoll --(descriptor, generation)--> event    taken only if the generation is still the entry's
//     about_to_close: generation + 1, registration removed, waiters woken with "closed"
//
// One reactor watches a descriptor at a time: the first that waited. Fibers of other hubs wait in the same entry and
// are woken across threads.
#include <coir/wait_queue.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace coir::net {

class reactor;

/// A place in an entry's queue.
struct fd_waiter : waiter {
    fd_waiter(parking& owner, std::uint32_t wanted) noexcept : waiter{owner}, events{wanted} {}
    std::uint32_t events; ///< EPOLL* that it waits for
    bool closed = false;
};

struct alignas(64) fd_entry {
    spin_lock guard; ///< for all but the atomic ones
    std::uint32_t generation = 0;
    std::atomic<std::uint32_t> closes{0}; ///< how often the number was given up while it was watched
    reactor* watcher = nullptr;
    wait_queue waiters;
    /// How often it has been reported that there is something to read, from 1; see arrival.hpp.
    std::atomic<std::uint64_t> arrivals{1};
    /// `arrivals` before the last read that was short, and so emptied it, by who keeps no stream.
    std::atomic<std::uint64_t> emptied_at{0};
    std::atomic<bool> watched{false}; ///< watcher != nullptr, readable without the lock
    /// Whether a short read has emptied it: neither hung up, nor broken, nor with urgent data.
    std::atomic<bool> steady{true};
};
static_assert(sizeof(fd_entry) == 64);

class fd_table {
public:
    static fd_table& instance() noexcept { return all_; }

    /// Null if there is no entry yet, or the number is out of range.
    fd_entry* find(int descriptor) noexcept;
    /// Null if the number is out of range or memory is exhausted.
    fd_entry* find_or_make(int descriptor) noexcept;
    /// Calls `visit(descriptor, entry)` for the entries from `first` to `last`.
    template <class Visit> void for_each(std::size_t first, std::size_t last, Visit&& visit);
    /// After a fork: whoever held a lock or waited is not there any more.
    void start_over_in_child() noexcept;

private:
    static constexpr std::size_t page_entries = 1024;
    static constexpr std::size_t page_count = 4096; // four million descriptors; fs.nr_open is one million by default
    struct page {
        fd_entry entries[page_entries];
    };

    static constinit fd_table all_;
    std::atomic<page*> pages_[page_count]{};
};

inline fd_entry* fd_table::find(int descriptor) noexcept
{
    const auto number = static_cast<std::size_t>(static_cast<unsigned>(descriptor));
    if (number >= page_entries * page_count)
        return nullptr;
    auto* found = pages_[number / page_entries].load(std::memory_order_acquire);
    return found ? &found->entries[number % page_entries] : nullptr;
}

template <class Visit> void fd_table::for_each(std::size_t first, std::size_t last, Visit&& visit)
{
    last = std::min(last, page_entries * page_count - 1);
    for (std::size_t number = first; number <= last;) {
        auto* found = pages_[number / page_entries].load(std::memory_order_acquire);
        const auto page_last = number / page_entries * page_entries + page_entries - 1;
        for (; number <= std::min(last, page_last); ++number) {
            if (!found) {
                number = page_last + 1;
                break;
            }
            visit(static_cast<int>(number), found->entries[number % page_entries]);
        }
    }
}

} // namespace coir::net
