// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace asio = boost::asio;

namespace {

using channel = asio::experimental::channel<void(boost::system::error_code, bench::number)>;

asio::awaitable<void> skynet(channel& result, bench::number first, bench::number size)
{
    if (size == 1) {
        co_await result.async_send(boost::system::error_code(), first, asio::use_awaitable);
        co_return;
    }
    channel parts{result.get_executor(), 10};
    for (int i = 0; i < 10; ++i)
        asio::co_spawn(result.get_executor(), skynet(parts, first + i * (size / 10), size / 10), asio::detached);
    bench::number sum = 0;
    for (int i = 0; i < 10; ++i)
        sum += co_await parts.async_receive(asio::use_awaitable);
    co_await result.async_send(boost::system::error_code(), sum, asio::use_awaitable);
}

} // namespace

int main(int argc, char** argv)
{
    const auto leaves = bench::argument(argc, argv, 1, 1'000'000);
    asio::io_context context{1};
    channel result{context, 1};
    auto main = [&]() -> asio::awaitable<void> {
        bench::stopwatch watch;
        asio::co_spawn(context, skynet(result, 0, leaves), asio::detached);
        const auto sum = co_await result.async_receive(asio::use_awaitable);
        watch.report(leaves, {{"checked", sum == leaves * (leaves - 1) / 2}, {"peak_rss", bench::peak_rss()}});
    };
    asio::co_spawn(context, main(), asio::detached);
    context.run();
}
