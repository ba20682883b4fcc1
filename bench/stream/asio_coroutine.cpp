// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto count = bench::argument(argc, argv, 1, 1'000'000);
    asio::io_context context{1};
    asio::experimental::channel<void(boost::system::error_code, bench::number)> numbers{context, 128};
    auto produce = [&]() -> asio::awaitable<void> {
        for (bench::number i = 1; i <= count; ++i)
            co_await numbers.async_send(boost::system::error_code(), i, asio::use_awaitable);
    };
    auto consume = [&]() -> asio::awaitable<void> {
        bench::stopwatch watch;
        bench::number sum = 0;
        for (bench::number i = 0; i < count; ++i)
            sum += co_await numbers.async_receive(asio::use_awaitable);
        watch.report(count, {{"checked", sum == count * (count + 1) / 2}});
    };
    asio::co_spawn(context, produce(), asio::detached);
    asio::co_spawn(context, consume(), asio::detached);
    context.run();
}
