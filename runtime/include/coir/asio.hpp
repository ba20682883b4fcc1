// SPDX-License-Identifier: BSL-1.0
#pragma once
// The one header of the runtime that faces Boost.Asio.
#include <boost/asio/io_context.hpp>

namespace coir {

/// The io_context behind the calling fiber's hub: handlers of operations started on it run between fibers. They may
/// wake fibers, spawn nothing, and must not wait. Throws std::logic_error outside of a fiber, and where the driver is
/// not Asio's.
boost::asio::io_context& this_hub_io_context();

} // namespace coir
