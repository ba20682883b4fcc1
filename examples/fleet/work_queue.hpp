// SPDX-License-Identifier: BSL-1.0
#pragma once
// The work that is shared: URLs to fetch, each once, and what became of each.
#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

struct options;

/// A URL that is to be fetched.
struct work_item {
    std::string id; ///< the queue's
    std::string url;
    unsigned depth = 0;      ///< how many links lead from a seed to it
    unsigned deliveries = 1; ///< more than 1: it was somebody else's, who has not finished it
};

/// What became of a URL.
struct page {
    std::string url;
    unsigned depth = 0;
    long status = 0; ///< of HTTP; 0 if there was no answer
    std::size_t bytes = 0;
    std::string error; ///< empty if all went well
    std::string worker;
};

/// Where the work is. Items are delivered at least once: one whose worker dies goes to another. Results are recorded
/// once: the second to finish an item is told so, and changes nothing.
///
/// All functions suspend. They throw std::runtime_error when the queue cannot be reached any more.
class work_queue {
public:
    virtual ~work_queue() = default;

    /// Adds a URL of depth 0, unless it has been seen before.
    virtual void seed(const std::string& url) = 0;
    /// The next item. Nothing when all that has been seen is done, or `stop` was requested.
    virtual std::optional<work_item> take(std::stop_token stop) = 0;
    /// Records the result, adds those links that have not been seen before, and removes the item: all of it or nothing.
    /// False if the item's result was there already.
    virtual bool complete(const work_item& item, const page& result, const std::vector<std::string>& links) = 0;
    /// Every result, by URL.
    virtual std::vector<page> results() = 0;
};

std::unique_ptr<work_queue> make_memory_queue();
/// Throws std::runtime_error when Redis cannot be reached.
std::unique_ptr<work_queue> make_redis_queue(const options& opts);
