// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/runtime.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace coir {

/// A driver on an io_context of yours, for `runtime{driver_on(context)}`: the hub blocks there, and your handlers run
/// between fibers, where they must not wait. The context outlives the runtime, and nobody else runs it meanwhile.
std::unique_ptr<driver> driver_on(boost::asio::io_context& context);

/// `coir::run` on an io_context of yours, in place of `context.run()`: handlers and fibers take turns on the calling
/// thread until `main` has ended. Handlers that are left then stay in the context, which may be run again.
///
/// `main` decides when it is over: `context.stop()` does not end it, nor does it matter whether the context has work.
/// Throws as `coir::run` does, and std::logic_error in a handler: it would run the context inside itself.
///
///     asio::io_context context;
///     server old_callbacks{context};
///     coir::run_on(context, [&] { timer.async_wait(coir::use_fiber); ... });
template <class Main> std::invoke_result_t<Main&> run_on(boost::asio::io_context& context, Main&& main)
{
    if (context.get_executor().running_in_this_thread())
        throw std::logic_error{"coir::run_on: the caller is one of the context's handlers"};
    runtime fibers{driver_on(context)};
    return run_in(fibers, std::forward<Main>(main));
}

} // namespace coir
