// SPDX-License-Identifier: BSL-1.0
// Asio's own stackful coroutines, with stacks of 64 KiB. A timer that does not run out is what they wait for.
#include "bench.hpp"
#include "parked.hpp"

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/context/fixedsize_stack.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    asio::io_context context{1};
    bench::parked_report report{fibers};
    asio::steady_timer wake{context, asio::steady_timer::time_point::max()};
    bench::number ended = 0;
    for (bench::number i = 0; i < fibers; ++i)
        asio::spawn(
            context, std::allocator_arg, boost::context::fixedsize_stack{64 * 1024},
            [&, i](asio::yield_context yield) {
                report.touch_stack(i);
                boost::system::error_code error;
                wake.async_wait(yield[error]);
                ++ended;
            },
            asio::detached);
    context.poll();
    report.parked(64 * 1024);
    wake.cancel();
    context.run();
    report.woken(ended == fibers);
}
