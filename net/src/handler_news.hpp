// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <cstdint>

namespace coir::net::handler_news {

/// What epoll says of the descriptor: of no other, since it has the number of none.
constexpr std::uint64_t tag = std::uint64_t{1} << 31;

/// An event descriptor, to be watched by every reactor for edges and never read: each write is one. It lives from the
/// first reactor to the last. Below 0 if there was none to be had.
int join() noexcept;
void leave() noexcept;
/// A forked child needs its own. Before its reactor starts over, and joins.
void start_over_in_child() noexcept;
void deliver() noexcept;

} // namespace coir::net::handler_news
