// SPDX-License-Identifier: BSL-1.0
#include "stack_top.hpp"

#include <stdexcept>

namespace coir {

void stack_top::refuse()
{
    throw std::length_error{"coir: the callable takes more than half of the stack"};
}

} // namespace coir
