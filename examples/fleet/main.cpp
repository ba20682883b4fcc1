// SPDX-License-Identifier: BSL-1.0
//
// fleet: a crawler. Its workers are fibers, which fetch pages with ordinary blocking libcurl and take their work from a
// queue: one in this process, or one in Redis that any number of processes and machines share, by ordinary blocking
// hiredis. Start reading here, then work_queue.hpp and redis_queue.cpp.
//
//     fleet --seed http://127.0.0.1:8000/
//     fleet --seed http://127.0.0.1:8000/ --queue redis://127.0.0.1:6379     as often as you like, wherever you like
//
// SIGINT or SIGTERM: finishes what has been begun, and reports.
#include "fetcher.hpp"
#include "options.hpp"
#include "report.hpp"
#include "work_queue.hpp"

#include <coir/fiber_group.hpp>
#include <coir/net/signal.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <fmt/format.h>

#include <csignal>
#include <exception>

namespace {

/// A page that kills its workers.
fetched_page given_up(const work_item& item, const std::string& worker)
{
    fetched_page page;
    page.result.url = item.url;
    page.result.depth = item.depth;
    page.result.error = fmt::format("given up: {} workers have died of it", item.deliveries - 1);
    page.result.worker = worker;
    return page;
}

/// Works until there is nothing left.
void work(work_queue& queue, const options& opts, std::stop_token stop, tally& own)
{
    fetcher pages{opts.worker, opts.timeout};
    while (const auto item = queue.take(stop)) {
        auto page = item->deliveries > opts.deliveries ? given_up(*item, opts.worker) : pages.fetch(*item);
        if (item->depth >= opts.depth)
            page.links.clear();
        if (queue.complete(*item, page.result, page.links)) {
            ++own.done;
            own.claimed += item->deliveries > 1;
        } else {
            ++own.done_twice;
        }
    }
}

void crawl(const options& opts)
{
    coir::net::stop_on_signal ending;
    const auto queue = opts.redis ? make_redis_queue(opts) : make_memory_queue();
    for (const auto& url : opts.seeds)
        queue->seed(url);

    tally own;
    coir::fiber_group workers;
    for (std::size_t i = 0; i < opts.workers; ++i)
        workers.spawn({.name = "worker"}, [&] { work(*queue, opts, ending.get_token(), own); });
    workers.join();
    (opts.json ? print_json : print_table)(queue->results(), own, opts.worker);
}

} // namespace

int main(int argc, char** argv)
{
    std::signal(SIGPIPE, SIG_IGN); // hiredis writes to sockets that may be closed
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int status = 0;
    try {
        const auto opts = parse_options(argc, argv);
        coir::run([&] { crawl(opts); });
    } catch (const std::exception& error) {
        fmt::print(stderr, "fleet: {}\n", error.what());
        status = 1;
    }
    curl_global_cleanup();
    return status;
}
