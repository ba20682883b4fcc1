// SPDX-License-Identifier: BSL-1.0
#pragma once
// For who reads from TCP sockets without asking the kernel more often than need be: how often it has been reported that
// there is something to read. A read that was shorter than its buffer has emptied the socket; as long as nothing has
// been reported since, the next one need not be tried. Why that is sound is in net/src/arrival.hpp.
#include <coir/net/readiness.hpp>

#include <cstdint>

namespace coir::net {

/// The number of reports for `descriptor`; 0 while nobody watches it, or once it has ended, failed or had urgent data,
/// after which a short read says nothing. Never suspends.
std::uint64_t arrivals(int descriptor) noexcept;

/// Whether a short read has emptied it, and nothing has been reported since. `seen` becomes the number of reports: ask
/// before the read, and after a short one tell `note_emptied`. TCP sockets only. Never suspends.
bool emptied(int descriptor, std::uint64_t& seen) noexcept;
void note_emptied(int descriptor, std::uint64_t seen) noexcept;

/// As wait_ready for POLLIN, but does not wait if something has been reported since `seen`, unless that is 0. Suspends.
wait_status wait_for_arrival(int descriptor, std::uint64_t seen, clock::time_point deadline = never,
                             ends_by_signal signals = ends_by_signal::never) noexcept;

/// Everyone who waits for the descriptor wakes and tries again. Never suspends. Any thread.
void wake_waiters(int descriptor) noexcept;

} // namespace coir::net
