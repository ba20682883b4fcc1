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

#include <cstddef>
#include <vector>

namespace coir {

/// The stacks of one hub. Fibers that nobody has joined yet may outlive the hub, and their stacks with them: so the
/// pool deletes itself after `close` when the last stack has come back. Any thread may release.
class stack_pool {
public:
    stack_pool() = default;
    stack_pool(const stack_pool&) = delete;
    stack_pool& operator=(const stack_pool&) = delete;

    /// A stack of `size` bytes, rounded up to pages, guard page included. Throws std::system_error.
    stack_memory allocate(std::size_t size);
    void release(stack_memory memory) noexcept;
    /// Around a fork, so that the child does not find it half changed.
    void lock() noexcept { guard_.lock(); }
    void unlock() noexcept { guard_.unlock(); }
    /// No more will be allocated.
    void close() noexcept;

    /// How far below the top of its slot a stack begins: successive slots differ, so that the busiest part of every
    /// stack does not fall in the same sets of the first-level cache.
    static std::size_t colour(const stack_memory& memory) noexcept;

private:
    struct slot_class {
        std::size_t slot_size;
        std::vector<std::byte*> free; ///< room for every slot there is: releasing does not allocate
        std::byte* fresh = nullptr;   ///< mapped, never used, not guarded yet
        std::byte* fresh_end = nullptr;
        std::size_t slots = 0;
    };
    struct mapping {
        std::byte* begin;
        std::size_t size;
    };

    ~stack_pool();
    slot_class& class_of(std::size_t slot_size);
    void map_more(slot_class& slots);

    spin_lock guard_;
    std::vector<slot_class> classes_;
    std::vector<mapping> mappings_;
    std::size_t in_use_ = 0;
    bool closed_ = false;
};

} // namespace coir
