// SPDX-License-Identifier: BSL-1.0
#pragma once
// How a handler of a signal reaches the hubs: it may be in the middle of anything that they do, and take no lock.

namespace coir::net {

using news_receiver = void() noexcept;

/// `receive` is called after `post_news`, once for each listening hub, by its loop: not in a fiber. One for the
/// process; set it before the first news.
void receive_news(news_receiver* receive) noexcept;

/// The calling fiber's hub listens from now on. False if it has no I/O, or no descriptor is left.
bool listen_for_news() noexcept;

/// Async-signal-safe. False if no hub of this process listens.
bool post_news() noexcept;

} // namespace coir::net
