// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace coir {

/// From now on a fork leaves the child with the hub and the fiber that called it, and nothing else of coir.
void watch_forks() noexcept;

} // namespace coir
