// SPDX-License-Identifier: BSL-1.0
// Without a stack. A timer that does not run out is what the coroutines wait for; the 1 KiB is touched in a function
// that they call, on the thread's stack, as coroutines do that.
#include "bench.hpp"
#include "parked.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    asio::io_context context{1};
    bench::parked_report report{fibers};
    asio::steady_timer wake{context, asio::steady_timer::time_point::max()};
    bench::number ended = 0;
    auto body = [&](bench::number i) -> asio::awaitable<void> {
        report.touch_stack(i);
        boost::system::error_code error;
        co_await wake.async_wait(asio::redirect_error(asio::use_awaitable, error));
        ++ended;
    };
    for (bench::number i = 0; i < fibers; ++i)
        asio::co_spawn(context, body(i), asio::detached);
    context.poll();
    report.parked(0);
    wake.cancel();
    context.run();
    report.woken(ended == fibers);
}
