// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "options.hpp"
#include "progress.hpp"
#include "usage.hpp"

#include <span>
#include <string>
#include <utility>
#include <vector>

/// What became of one URL.
struct outcome {
    bool known = false;
    std::size_t bytes = 0;
    std::string error; ///< empty if all went well
};

/// A list of URLs, fetched in one mode.
struct run {
    mode how{};
    std::vector<outcome> outcomes; ///< in the order of the URLs
    std::size_t whole = 0; ///< URLs in the list of which this run is a sample; else as many as there are outcomes
    usage cost;

    bool is_sample() const { return outcomes.size() < whole; }
    /// How long the whole list would have taken.
    double whole_wall_s() const
    {
        return cost.wall_s * static_cast<double>(whole) / static_cast<double>(outcomes.size());
    }
    std::size_t bytes() const;
    std::size_t failures() const;
};

/// Fetches the URLs in a process of its own, and says at once on the standard error what fails.
run run_mode(mode how, const options& opts, std::span<const std::string> urls, progress_bar& bar);

/// What that process does. Returns its exit status.
int measure(mode how, const options& opts);

/// `wanted`, or as many workers as the limit of open files allows; says so where that is fewer.
std::size_t affordable_workers(const options& opts, std::size_t wanted);

/// To the hard limit. Before anything else.
void raise_descriptor_limit();
