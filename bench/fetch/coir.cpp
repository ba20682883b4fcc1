// SPDX-License-Identifier: BSL-1.0
#include "easy.hpp"

#include <coir/fiber_group.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

int main(int argc, char** argv)
{
    const auto url = bench::url_of(bench::argument(argc, argv, 1, 0));
    const auto requests = bench::argument(argc, argv, 2, 1000);
    bench::raise_descriptor_limit();
    ::curl_global_init(CURL_GLOBAL_DEFAULT);
    bench::stopwatch watch;
    bench::number failures = 0;
    coir::run([&] {
        coir::fiber_group fetches;
        for (bench::number i = 0; i < requests; ++i)
            fetches.spawn([&] { failures += !bench::get(url); });
        fetches.join();
    });
    bench::report(watch, requests, failures);
}
