// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <coir/channel.hpp>
#include <coir/runtime.hpp>

namespace {

using channel = coir::channel<bench::number>;

void skynet(channel& result, bench::number first, bench::number size)
{
    if (size == 1) {
        result.send(first);
        return;
    }
    channel parts{10};
    coir::fiber children[10];
    for (int i = 0; i < 10; ++i)
        children[i] = coir::fiber{[&parts, part = first + i * (size / 10), size] { skynet(parts, part, size / 10); }};
    bench::number sum = 0;
    for (int i = 0; i < 10; ++i)
        sum += *parts.receive();
    for (auto& child : children)
        child.join();
    result.send(sum);
}

} // namespace

int main(int argc, char** argv)
{
    const auto leaves = bench::argument(argc, argv, 1, 1'000'000);
    coir::run([&] {
        channel result{1};
        bench::stopwatch watch;
        skynet(result, 0, leaves);
        const auto sum = *result.receive();
        watch.report(leaves, {{"checked", sum == leaves * (leaves - 1) / 2}, {"peak_rss", bench::peak_rss()}});
    });
}
