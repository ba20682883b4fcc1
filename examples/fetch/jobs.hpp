// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

/// One URL of the list.
struct job {
    std::size_t number; ///< its place in the list
    std::string url;
};

/// The URLs that workers share. Any thread, any fiber.
class job_list {
public:
    /// Outcomes are written to `results`, a line each.
    job_list(std::vector<std::string> urls, int results);

    /// The next that nobody has taken; null when none is left.
    const job* take() noexcept
    {
        const auto next = next_.fetch_add(1, std::memory_order_relaxed);
        return next < jobs_.size() ? &jobs_[next] : nullptr;
    }
    /// `error` is empty if all went well.
    void report(const job& done, std::size_t bytes, const std::string& error);

    std::size_t size() const noexcept { return jobs_.size(); }

private:
    std::vector<job> jobs_;
    std::atomic<std::size_t> next_{0};
    int results_;
};
