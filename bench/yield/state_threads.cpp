// SPDX-License-Identifier: BSL-1.0
// Version 1.9 has no yield; st_usleep(0) is what its users write.
#include "state_threads.hpp"
#include "bench.hpp"

#include <vector>

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 2);
    const auto rounds = bench::argument(argc, argv, 2, 2'000'000) / fibers;
    bench::start_state_threads();
    bench::stopwatch watch;
    bool first = true;
    auto body = [&] {
        ::st_usleep(0); // until all have started
        if (std::exchange(first, false))
            watch.restart();
        for (bench::number round = 0; round < rounds; ++round)
            ::st_usleep(0);
    };
    std::vector<st_thread_t> all;
    for (bench::number i = 0; i < fibers; ++i)
        all.push_back(bench::start_thread(body));
    for (const auto thread : all)
        ::st_thread_join(thread, nullptr);
    watch.report(fibers * rounds);
}
