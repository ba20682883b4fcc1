// SPDX-License-Identifier: BSL-1.0
#include "process.hpp"
#include "run.hpp"
#include "workers.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <csignal>

namespace {

std::vector<std::string> given_urls()
{
    const auto text = read_all(first_descriptor);
    std::vector<std::string> urls;
    for (std::size_t begin = 0, end; (end = text.find('\0', begin)) != std::string::npos; begin = end + 1)
        urls.push_back(text.substr(begin, end - begin));
    return urls;
}

} // namespace

int measure(mode how, const options& opts)
{
    std::signal(SIGPIPE, SIG_IGN); // a peer that has gone is an error of one transfer
    curl_global_init(CURL_GLOBAL_DEFAULT);
    {
        job_list jobs{given_urls(), second_descriptor};
        const auto workers = std::min(opts.concurrency, jobs.size());
        const meter cost;
        switch (how) {
        case mode::sequential: run_sequential(jobs, opts); break;
        case mode::threads: run_threads(jobs, opts, workers); break;
        case mode::fibers: run_fibers(jobs, opts, workers); break;
        }
        const auto total = cost.read();
        write_all(second_descriptor,
                  fmt::format("usage {} {} {} {} {} {}\n", total.wall_s, total.cpu_s, total.context_switches,
                              total.peak_memory_kib, total.address_space_kib, total.threads));
    }
    curl_global_cleanup();
    return 0;
}
