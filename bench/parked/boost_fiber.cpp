// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"
#include "parked.hpp"

#include <memory>
#include <vector>

#include <boost/fiber/condition_variable.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/fixedsize_stack.hpp>
#include <boost/fiber/mutex.hpp>
#include <boost/fiber/operations.hpp>

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    bench::parked_report report{fibers};
    boost::fibers::mutex mutex;
    boost::fibers::condition_variable woken;
    bool wake = false;
    std::vector<boost::fibers::fiber> all;
    all.reserve(static_cast<std::size_t>(fibers));
    for (bench::number i = 0; i < fibers; ++i)
        all.emplace_back(std::allocator_arg, boost::fibers::fixedsize_stack{64 * 1024}, [&, i] {
            report.touch_stack(i);
            std::unique_lock lock{mutex};
            woken.wait(lock, [&] { return wake; });
        });
    boost::this_fiber::yield();
    report.parked(64 * 1024);
    wake = true;
    woken.notify_all();
    for (auto& fiber : all)
        fiber.join();
    report.woken();
}
