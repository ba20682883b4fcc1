// SPDX-License-Identifier: BSL-1.0
#include "easy.hpp"

#include <atomic>
#include <thread>
#include <vector>

int main(int argc, char** argv)
{
    const auto url = bench::url_of(bench::argument(argc, argv, 1, 0));
    const auto requests = bench::argument(argc, argv, 2, 1000);
    bench::raise_descriptor_limit();
    ::curl_global_init(CURL_GLOBAL_DEFAULT);
    bench::stopwatch watch;
    std::atomic<bench::number> failures = 0;
    {
        std::vector<std::jthread> threads;
        for (bench::number i = 0; i < requests; ++i)
            threads.emplace_back([&] { failures += !bench::get(url); });
    }
    bench::report(watch, requests, failures);
}
