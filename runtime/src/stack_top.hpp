// SPDX-License-Identifier: BSL-1.0
#pragma once
// What lies at the top of every stack that a fiber or a coroutine runs on: its control block, and below it the
// callable.
#include "context.hpp"

#include <coir/fiber.hpp>

namespace coir {

class stack_pool;

struct stack_top {
    stack_memory memory;
    std::byte* block;    ///< for the control block, which is yet to be constructed
    std::byte* callable; ///< has been moved here
    std::byte* frames;   ///< where the first frame begins

    /// A stack from `pool`; size 0 means the default. Throws std::system_error, std::length_error when the callable
    /// takes too much of it, and what moving the callable throws.
    static stack_top make(stack_pool& pool, std::size_t stack_size, std::size_t block_size, std::size_t block_alignment,
                          const fiber_entry& entry, void* callable);
};

} // namespace coir
