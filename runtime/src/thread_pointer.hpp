// SPDX-License-Identifier: BSL-1.0
#pragma once
// The register that the thread-local storage is found by.

namespace coir {

/// Between this and the next function call, nothing thread-local may be used.
void write_thread_pointer(void* pointer) noexcept;

} // namespace coir
