// SPDX-License-Identifier: BSL-1.0
#include "workers.hpp"
#include "transfer.hpp"

#include <coir/fiber_group.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <curl/curl.h>
#include <fmt/format.h>

#include <system_error>
#include <thread>

void fetch_urls(job_list& jobs, const options& opts)
{
    transfer curl{opts};
    while (const job* next = jobs.take()) {
        body received{*next, opts.out};
        curl_easy_setopt(curl.handle(), CURLOPT_URL, next->url.c_str());
        curl_easy_setopt(curl.handle(), CURLOPT_WRITEDATA, &received);
        const CURLcode code = curl_easy_perform(curl.handle()); // waits for the network, again and again
        jobs.report(*next, received.size(), received.finish(curl.error(code)));
    }
}

namespace {

/// Calls `start` so many times; makes do with fewer where the system gives no more threads, or no more stacks.
template <class Start> void start_workers(std::size_t count, Start start)
{
    for (std::size_t started = 0; started < count; ++started) {
        try {
            start();
        } catch (const std::system_error& error) {
            if (started == 0)
                throw;
            fmt::print(stderr, "fetch: going on with {} workers instead of {}: {}\n", started, count, error.what());
            return;
        }
    }
}

} // namespace

void run_sequential(job_list& jobs, const options& opts)
{
    fetch_urls(jobs, opts);
}

void run_threads(job_list& jobs, const options& opts, std::size_t workers)
{
    std::vector<std::jthread> threads;
    start_workers(workers, [&] { threads.emplace_back([&] { fetch_urls(jobs, opts); }); });
}

void run_fibers(job_list& jobs, const options& opts, std::size_t workers)
{
    coir::run([&] {
        coir::fiber_group fibers;
        start_workers(workers, [&] { fibers.spawn({.name = "worker"}, [&] { fetch_urls(jobs, opts); }); });
        fibers.join();
    });
}
