// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"
#include "parked.hpp"

#include <coir/event.hpp>
#include <coir/runtime.hpp>

#include <vector>

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    coir::run([&] {
        bench::parked_report report{fibers};
        coir::event wake;
        std::vector<coir::fiber> all;
        all.reserve(static_cast<std::size_t>(fibers));
        for (bench::number i = 0; i < fibers; ++i)
            all.emplace_back([&, i] {
                report.touch_stack(i);
                wake.wait();
            });
        coir::this_fiber::yield();
        report.parked(coir::default_stack_size());
        wake.set();
        for (auto& fiber : all)
            fiber.join();
        report.woken();
    });
}
