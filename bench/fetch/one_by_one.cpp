// SPDX-License-Identifier: BSL-1.0
// The same calls one after another, on a plain thread, answered at once: what the blocking interface itself costs, with
// the shortest of waits. Its wall time says nothing.
#include "easy.hpp"

int main(int argc, char** argv)
{
    const auto url = bench::url_of(bench::argument(argc, argv, 1, 0)) + "now";
    const auto requests = bench::argument(argc, argv, 2, 1000);
    ::curl_global_init(CURL_GLOBAL_DEFAULT);
    bench::stopwatch watch;
    bench::number failures = 0;
    for (bench::number i = 0; i < requests; ++i)
        failures += !bench::get(url);
    bench::report(watch, requests, failures);
}
