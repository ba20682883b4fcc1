// SPDX-License-Identifier: BSL-1.0
// Waiting for an OS thread to end. libcurl joins its resolver's thread when a transfer is given up during a look-up.
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"

namespace coir {

COIR_INTERPOSE int pthread_join(pthread_t thread, void** result)
{
    // Joining oneself or a thread that joins us is for libc to see, which it does by the thread that asks.
    if (outside() || ::pthread_equal(thread, ::pthread_self()))
        return libc.pthread_join(thread, result);
    return on_helper([&] { return libc.pthread_join(thread, result); });
}

} // namespace coir
