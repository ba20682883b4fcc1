// SPDX-License-Identifier: BSL-1.0
// The newest child runs next.
#include "floor.hpp"
#include "bench.hpp"

namespace bare = bench::bare;
using channel = bare::channel<bench::number, 10>;

namespace {

void skynet(channel& result, bench::number first, bench::number size)
{
    if (size == 1) {
        result.send(first);
        return;
    }
    channel parts;
    for (int i = 0; i < 10; ++i)
        bare::ready.push_front(
            bare::make_task([&parts, part = first + i * (size / 10), size] { skynet(parts, part, size / 10); }));
    bench::number sum = 0;
    for (int i = 0; i < 10; ++i)
        sum += parts.receive();
    result.send(sum);
}

} // namespace

int main(int argc, char** argv)
{
    const auto leaves = bench::argument(argc, argv, 1, 1'000'000);
    channel result;
    bench::stopwatch watch;
    skynet(result, 0, leaves);
    const auto sum = result.receive();
    watch.report(leaves, {{"checked", sum == leaves * (leaves - 1) / 2}, {"peak_rss", bench::peak_rss()}});
}
