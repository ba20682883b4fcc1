// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace asio = boost::asio;
using channel = asio::experimental::channel<void(boost::system::error_code, int)>;

int main(int argc, char** argv)
{
    const auto rounds = bench::argument(argc, argv, 1, 1'000'000) / 2;
    asio::io_context context{1};
    channel there{context, 1};
    channel back{context, 1};
    auto partner = [&]() -> asio::awaitable<void> {
        for (bench::number i = 0; i < rounds; ++i) {
            const int value = co_await there.async_receive(asio::use_awaitable);
            co_await back.async_send(boost::system::error_code(), value + 1, asio::use_awaitable);
        }
    };
    auto main = [&]() -> asio::awaitable<void> {
        int value = 0;
        bench::stopwatch watch;
        for (bench::number i = 0; i < rounds; ++i) {
            co_await there.async_send(boost::system::error_code(), value, asio::use_awaitable);
            value = co_await back.async_receive(asio::use_awaitable);
        }
        watch.report(2 * rounds, {{"checked", value == rounds}});
    };
    asio::co_spawn(context, partner(), asio::detached);
    asio::co_spawn(context, main(), asio::detached);
    context.run();
}
