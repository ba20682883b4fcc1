// SPDX-License-Identifier: BSL-1.0
#pragma once
// A read from a TCP socket that was shorter than its buffer has emptied it. So the next read need not ask the kernel,
// only to hear that there is nothing: it waits for something new to arrive. But what arrived between the two reads may
// have been reported already, when nobody waited. Therefore each descriptor's entry counts the reports:
//
//     seen = arrivals_at(fd)          before the read
//     read: shorter than the buffer   whatever it has not taken will be reported later, and counted
//     ...                             any number of suspensions
//     wait_for_arrival(fd, seen)      at once if something was reported after `seen`
//
// The end of the stream and errors are reported once and then stay; urgent data ends a read early. Once one of these
// has been seen, a short read says nothing: `steady` is false.
#include "fd_table.hpp"

#include <coir/net/arrival.hpp>

#include <cstdint>

namespace coir::net {

/// How often anything has been reported to be there to read; 0 if nobody watches.
inline std::uint64_t arrivals_at(const fd_entry* entry) noexcept
{
    return entry && entry->watched.load(std::memory_order_acquire) ? entry->arrivals.load(std::memory_order_acquire)
                                                                   : 0;
}

} // namespace coir::net
