// SPDX-License-Identifier: BSL-1.0
#pragma once
// Stacks, mapped in large pieces, each with a guard page, and reused.
//
// A slot, from low addresses to high:   | guard page | stack, committed by touch ... | fiber_state, callable |
//
// The guard is MADV_GUARD_INSTALL where the kernel has it (Linux 6.13): it costs no mapping, so a million guarded
// stacks are one VMA. Older kernels get mprotect, two VMAs a slot, and meet vm.max_map_count at about 32,000 stacks;
// the error then says so. A stack without a guard is never handed out.
#include "context.hpp"

#include <coir/spin_lock.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

namespace coir {

class scheduler;

[[gnu::tls_model("initial-exec")]] extern constinit thread_local scheduler* current_scheduler; // see scheduler.hpp

/// The stacks of one hub. Fibers that nobody has joined yet may outlive the hub, and their stacks with them: so the
/// pool deletes itself after `close` when the last stack has come back. Any thread may allocate and release; on the
/// thread of the hub that owns the pool that is done without a lock, as long as the number of its fibers does not grow.
class stack_pool {
public:
    stack_pool() = default; ///< nobody's
    explicit stack_pool(const scheduler& owner) : owner_{&owner} {}
    stack_pool(const stack_pool&) = delete;
    stack_pool& operator=(const stack_pool&) = delete;

    /// A stack of `size` bytes, rounded up to pages, guard page included. Throws std::system_error.
    stack_memory allocate(std::size_t size);
    void release(stack_memory memory) noexcept;
    /// Around a fork, so that the child does not find it half changed.
    void lock() noexcept { guard_.lock(); }
    void unlock() noexcept { guard_.unlock(); }
    /// The owner's thread: whether it keeps more free stacks than a hub needs who starts and ends fibers all the time.
    bool has_many() const noexcept { return kept_.front().count > kept_at_rest; }
    /// The owner's thread, while it has many, now and then: those that have not been used since the last time are more
    /// than are needed, and give their memory back to the system, a few with each call. True: there are more of them.
    bool give_back() noexcept;
    /// The owner's thread: the next `give_back` looks at what is used from now on.
    void look_from_now() noexcept { kept_.front().least = kept_.front().count; }
    /// No more will be allocated.
    void close() noexcept;

    /// How far below the top of its slot a stack begins: successive slots differ, so that the busiest part of every
    /// stack does not fall in the same sets of the first-level cache.
    static std::size_t colour(const stack_memory& memory) noexcept;

private:
    struct slot_class {
        std::size_t slot_size;
        std::vector<std::byte*> free; ///< room for every slot there is: releasing does not allocate
        std::byte* fresh = nullptr;   ///< mapped, and never used
        std::byte* guarded = nullptr; ///< up to here the fresh ones have their guards
        std::byte* fresh_end = nullptr;
        std::size_t slots = 0;
    };
    /// What is in a free stack, at its top, while the owner keeps it.
    struct free_stack {
        free_stack* next;
    };
    /// Free stacks of one size that the owner keeps for itself.
    struct kept_stacks {
        std::size_t slot_size = 0; ///< 0: of no size yet
        std::size_t stack_size = 0;
        std::size_t count = 0;
        std::size_t least = 0; ///< there have been since somebody looked
        free_stack* first = nullptr;

        bool empty() const noexcept { return first == nullptr; }
        stack_memory pop() noexcept
        {
            auto* const taken = first;
            first = taken->next;
            least = std::min(least, --count);
            return {reinterpret_cast<std::byte*>(taken + 1) - stack_size, stack_size};
        }
        void push(stack_memory memory) noexcept
        {
            first = ::new (memory.top() - sizeof(free_stack)) free_stack{first};
            ++count;
        }
    };
    struct mapping {
        std::byte* begin;
        std::size_t size;
    };

    ~stack_pool();
    bool is_owners_thread() const noexcept
    {
        const auto* owner = owner_.load(std::memory_order_relaxed);
        return owner && owner == current_scheduler;
    }
    stack_memory allocate_rounded(std::size_t size);
    void release_other(stack_memory memory) noexcept;
    kept_stacks* kept_of(std::size_t slot_size) noexcept;
    bool keep(stack_memory memory) noexcept;
    void give_up_kept() noexcept;
    slot_class& class_of(std::size_t slot_size);
    void map_more(slot_class& slots);
    void guard_more(slot_class& slots);

    static constexpr std::size_t kept_at_rest = 4096;

    std::array<kept_stacks, 2> kept_; ///< the owner's thread only; the first is for the size that comes first
    std::size_t surplus_ = 0;         ///< of the first: to be given back
    std::atomic<const scheduler*> owner_{nullptr};

    spin_lock guard_; ///< for all below
    std::vector<slot_class> classes_;
    std::vector<mapping> mappings_;
    std::size_t in_use_ = 0; ///< or kept
    bool closed_ = false;
};

inline stack_memory stack_pool::allocate(std::size_t size)
{
    if (is_owners_thread() && kept_.front().slot_size == size && !kept_.front().empty()) [[likely]]
        return kept_.front().pop();
    return allocate_rounded(size);
}

inline void stack_pool::release(stack_memory memory) noexcept
{
#if COIR_ASAN
    __asan_unpoison_memory_region(memory.base, memory.size);
#endif
    auto& kept = kept_.front();
    if (is_owners_thread() && kept.stack_size == memory.size) [[likely]]
        kept.push(memory);
    else
        release_other(memory);
}

inline std::size_t stack_pool::colour(const stack_memory& memory) noexcept
{
    constexpr std::size_t colours = 16;
    constexpr std::size_t cache_line = 64;
    // Which slot it is; where the size of slots is no power of two, roughly.
    return (reinterpret_cast<std::uintptr_t>(memory.base) >> std::bit_width(memory.size)) % colours * cache_line;
}

} // namespace coir
