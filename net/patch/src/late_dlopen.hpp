// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace coir {

/// dlopen for `caller`, the address it returns to: whose directories are searched depends on who calls, and that is us.
void* dlopen_for(const void* caller, const char* file, int mode) noexcept;

} // namespace coir
