// SPDX-License-Identifier: BSL-1.0
#include "state_threads.hpp"
#include "bench.hpp"

#include <vector>

int main(int argc, char** argv)
{
    const auto batch = bench::argument(argc, argv, 1, 1000);
    const auto batches = bench::argument(argc, argv, 2, 1'000'000) / batch;
    bench::start_state_threads();
    bench::number ran = 0;
    auto body = [&] { ++ran; };
    std::vector<st_thread_t> threads;
    auto run_batch = [&] {
        for (bench::number i = 0; i < batch; ++i)
            threads.push_back(bench::start_thread(body));
        for (const auto thread : threads)
            ::st_thread_join(thread, nullptr);
        threads.clear();
    };
    run_batch(); // the stacks are then there
    bench::stopwatch watch;
    for (bench::number i = 0; i < batches; ++i)
        run_batch();
    watch.report(batch * batches, {{"checked", ran == batch * (batches + 1)}});
}
