// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "work_queue.hpp"

#include <cstddef>
#include <string>
#include <vector>

/// What this process has done.
struct tally {
    std::size_t done = 0;
    std::size_t claimed = 0;    ///< of these, that were somebody else's before
    std::size_t done_twice = 0; ///< fetched here, when somebody else had recorded a result already
};

void print_table(const std::vector<page>& pages, const tally& own, const std::string& worker);
void print_json(const std::vector<page>& pages, const tally& own, const std::string& worker);
