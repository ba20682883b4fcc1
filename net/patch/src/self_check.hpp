// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace coir {

/// Set by our readv when it is called with nothing to read: that is how the self-check knows that it was reached.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local bool self_check_seen;

/// replacement.cpp's: whether `coir::patch::install` is loading this library, and whether it is in force.
bool loaded_by_install() noexcept;
bool is_installed() noexcept;

} // namespace coir
