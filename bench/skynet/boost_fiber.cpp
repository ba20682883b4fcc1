// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <boost/fiber/buffered_channel.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/pooled_fixedsize_stack.hpp>

namespace {

using channel = boost::fibers::buffered_channel<bench::number>;

boost::fibers::pooled_fixedsize_stack stacks{64 * 1024};

void skynet(channel& result, bench::number first, bench::number size)
{
    if (size == 1) {
        result.push(first);
        return;
    }
    channel parts{16};
    boost::fibers::fiber children[10];
    for (int i = 0; i < 10; ++i)
        children[i] = boost::fibers::fiber{std::allocator_arg, stacks, [&parts, part = first + i * (size / 10), size] {
                                               skynet(parts, part, size / 10);
                                           }};
    bench::number sum = 0;
    for (int i = 0; i < 10; ++i)
        sum += parts.value_pop();
    for (auto& child : children)
        child.join();
    result.push(sum);
}

} // namespace

int main(int argc, char** argv)
{
    const auto leaves = bench::argument(argc, argv, 1, 100'000);
    channel result{2};
    bench::stopwatch watch;
    skynet(result, 0, leaves);
    const auto sum = result.value_pop();
    watch.report(leaves, {{"checked", sum == leaves * (leaves - 1) / 2}, {"peak_rss", bench::peak_rss()}});
}
