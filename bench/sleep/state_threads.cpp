// SPDX-License-Identifier: BSL-1.0
#include "state_threads.hpp"
#include "sleeps.hpp"

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    const auto milliseconds = bench::argument(argc, argv, 2, 1000);
    bench::start_state_threads();
    bench::sleeps sleeps{milliseconds};
    bench::number started = 0;
    auto body = [&] {
        sleeps.run(started++, [](auto length) {
            ::st_usleep(static_cast<st_utime_t>(std::chrono::ceil<std::chrono::microseconds>(length).count()));
        });
    };
    std::vector<st_thread_t> all;
    for (bench::number i = 0; i < fibers; ++i)
        all.push_back(bench::start_thread(body));
    for (const auto thread : all)
        ::st_thread_join(thread, nullptr);
    sleeps.report();
}
