// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <boost/asio/io_context.hpp>

namespace coir {

/// The io_context behind the calling fiber's hub: handlers of operations started on it run between fibers. They may
/// wake fibers, spawn nothing, and must not wait. Throws std::logic_error outside of a fiber, and where the driver is
/// not Asio's.
boost::asio::io_context& this_hub_io_context();

/// The same; null where there is none. Never throws.
boost::asio::io_context* find_this_hub_io_context() noexcept;

/// The context of the executors of the calling fiber's hub: its io_context, or what stands for one where there is none.
/// Null outside of a hub.
boost::asio::execution_context* find_this_hub_context() noexcept;

} // namespace coir
