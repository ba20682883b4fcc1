// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace coir {

/// Set by our readv when it is called with nothing to read: that is how the self-check knows that it was reached.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local bool self_check_seen;

} // namespace coir
