// SPDX-License-Identifier: BSL-1.0
#include "report.hpp"
#include "../fetch/io.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>

void print_table(const std::vector<page>& pages, const tally& own, const std::string& worker)
{
    std::size_t url_width = 3, worker_width = 6, failed = 0;
    for (const auto& each : pages) {
        url_width = std::max(url_width, each.url.size());
        worker_width = std::max(worker_width, each.worker.size());
        failed += !each.error.empty();
    }
    fmt::print("{:<{}}  depth  status  {:>10}  {:<{}}  error\n", "URL", url_width, "bytes", "worker", worker_width);
    for (const auto& each : pages)
        fmt::print("{:<{}}  {:>5}  {:>6}  {:>10}  {:<{}}  {}\n", printable(each.url), url_width, each.depth,
                   each.status, grouped(each.bytes), printable(each.worker), worker_width, printable(each.error));
    fmt::print("{} pages, {} failed; {} by {}, {} of them taken over; {} fetched twice\n", grouped(pages.size()),
               grouped(failed), grouped(own.done), printable(worker), grouped(own.claimed), grouped(own.done_twice));
}

void print_json(const std::vector<page>& pages, const tally& own, const std::string& worker)
{
    auto list = nlohmann::json::array();
    for (const auto& each : pages)
        list.push_back({{"url", each.url},
                        {"depth", each.depth},
                        {"status", each.status},
                        {"bytes", each.bytes},
                        {"error", each.error},
                        {"worker", each.worker}});
    const nlohmann::json all{{"pages", list},
                             {"worker", worker},
                             {"done", own.done},
                             {"claimed", own.claimed},
                             {"done_twice", own.done_twice}};
    std::cout << all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}
