// SPDX-License-Identifier: BSL-1.0
#include "jobs.hpp"
#include "io.hpp"

#include <fmt/format.h>

#include <algorithm>

job_list::job_list(std::vector<std::string> urls, int results) : results_{results}
{
    jobs_.reserve(urls.size());
    for (auto& url : urls)
        jobs_.push_back({jobs_.size(), std::move(url)});
}

void job_list::report(const job& done, std::size_t bytes, const std::string& error)
{
    // Shorter than PIPE_BUF, so that lines of several workers do not mix.
    auto line = fmt::format("{} {} {:.2000}\n", done.number, bytes, printable(error));
    write_all(results_, line);
}
