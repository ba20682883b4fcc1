// SPDX-License-Identifier: BSL-1.0
#pragma once
// What `coir run` tells the library that it preloads, in the environment variable COIR_RUN: one letter for each choice,
// and after a colon the caller's own LD_PRELOAD as it stood in the environment, name and all; nothing if there was
// none.
//
//     COIR_RUN=fc:LD_PRELOAD=/usr/lib/libother.so

namespace coir::launch {

constexpr const char* variable = "COIR_RUN";
constexpr char main_is_fiber = 'f';
constexpr char children_too = 'c';
constexpr char threads_are_fibers = 't';

constexpr int failure = 125; ///< exit status for our own failures, as of env(1)

} // namespace coir::launch
