// SPDX-License-Identifier: BSL-1.0
#include "floor.hpp"
#include "bench.hpp"
#include "parked.hpp"

int main(int argc, char** argv)
{
    namespace bare = bench::bare;
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    bench::parked_report report{fibers};
    bare::queue waiting;
    bare::latch done{static_cast<std::size_t>(fibers)};
    for (bench::number i = 0; i < fibers; ++i)
        bare::spawn([&, i] {
            report.touch_stack(i);
            waiting.push(*bare::current);
            bare::park();
            done.done();
        });
    bare::yield();
    report.parked(bare::stack_size);
    while (!waiting.empty())
        bare::ready.push(waiting.pop());
    done.wait();
    report.woken();
}
