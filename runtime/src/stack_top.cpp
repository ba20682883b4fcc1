// SPDX-License-Identifier: BSL-1.0
#include "stack_top.hpp"

#include "stack_pool.hpp"

#include <cstdint>
#include <stdexcept>

namespace coir {

namespace {

std::byte* align_down(std::byte* address, std::size_t alignment) noexcept
{
    return address - reinterpret_cast<std::uintptr_t>(address) % alignment;
}

} // namespace

stack_top stack_top::make(stack_pool& pool, std::size_t stack_size, std::size_t block_size, std::size_t block_alignment,
                          const fiber_entry& entry, void* callable)
{
    const auto memory = pool.allocate(stack_size ? stack_size : default_stack_size());
    std::byte* block = align_down(memory.top() - stack_pool::colour(memory) - block_size, block_alignment);
    if (entry.size + entry.alignment > memory.size / 2) {
        pool.release(memory);
        throw std::length_error{"coir: the callable takes more than half of the stack"};
    }
    std::byte* place = align_down(block - entry.size, entry.alignment);
    try {
        entry.move(callable, place);
    } catch (...) {
        pool.release(memory);
        throw;
    }
    return {memory, block, place, align_down(place, 16)};
}

} // namespace coir
