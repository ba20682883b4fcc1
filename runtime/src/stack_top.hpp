// SPDX-License-Identifier: BSL-1.0
#pragma once
// What lies at the top of every stack that a fiber or a coroutine runs on: its control block, and below it the
// callable.
#include "context.hpp"
#include "stack_pool.hpp"

#include <coir/fiber.hpp>

#include <cstddef>
#include <cstdint>

namespace coir {

struct stack_top {
    stack_memory memory;
    std::byte* block;    ///< for the control block, which is yet to be constructed
    std::byte* callable; ///< has been moved here
    std::byte* frames;   ///< where the first frame begins

    /// A stack from `pool`; size 0 means the default. Throws std::system_error, std::length_error when the callable
    /// takes too much of it, and what moving the callable throws.
    static stack_top make(stack_pool& pool, std::size_t stack_size, std::size_t block_size, std::size_t block_alignment,
                          const fiber_entry& entry, void* callable);

private:
    static std::byte* align_down(std::byte* address, std::size_t alignment) noexcept
    {
        return address - (reinterpret_cast<std::uintptr_t>(address) & (alignment - 1));
    }
    [[noreturn]] static void refuse();
};

[[gnu::always_inline]] inline stack_top stack_top::make(stack_pool& pool, std::size_t stack_size,
                                                        std::size_t block_size, std::size_t block_alignment,
                                                        const fiber_entry& entry, void* callable)
{
    const auto memory = pool.allocate(stack_size ? stack_size : default_stack_size());
    std::byte* block = align_down(memory.top() - stack_pool::colour(memory) - block_size, block_alignment);
    std::byte* place = align_down(block - entry.size, entry.alignment);
    try {
        if (entry.size + entry.alignment > memory.size / 2) [[unlikely]]
            refuse();
        entry.move(callable, place);
    } catch (...) {
        pool.release(memory);
        throw;
    }
    return {memory, block, place, align_down(place, 16)};
}

} // namespace coir
