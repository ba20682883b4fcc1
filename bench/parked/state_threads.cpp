// SPDX-License-Identifier: BSL-1.0
#include "state_threads.hpp"
#include "bench.hpp"
#include "parked.hpp"

#include <vector>

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    bench::start_state_threads();
    bench::parked_report report{fibers};
    const st_cond_t wake = ::st_cond_new();
    bench::number started = 0;
    auto body = [&] {
        report.touch_stack(started++);
        ::st_cond_wait(wake);
    };
    std::vector<st_thread_t> all;
    all.reserve(static_cast<std::size_t>(fibers));
    for (bench::number i = 0; i < fibers; ++i)
        all.push_back(bench::start_thread(body));
    ::st_usleep(0);
    report.parked(64 * 1024);
    ::st_cond_broadcast(wake);
    for (const auto thread : all)
        ::st_thread_join(thread, nullptr);
    report.woken(started == fibers);
}
