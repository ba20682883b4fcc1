// SPDX-License-Identifier: BSL-1.0
// The queue of a process that works alone.
#include "work_queue.hpp"

#include <coir/condition_variable_any.hpp>
#include <coir/mutex.hpp>

#include <deque>
#include <map>
#include <mutex>
#include <set>

namespace {

class memory_queue final : public work_queue {
public:
    void seed(const std::string& url) override
    {
        const std::scoped_lock lock{guard_};
        add(url, 0);
    }

    std::optional<work_item> take(std::stop_token stop) override
    {
        std::unique_lock lock{guard_};
        const bool found =
            changed_.wait(lock, stop, [&] { return !items_.empty() || results_.size() == seen_.size(); });
        if (!found || items_.empty() || stop.stop_requested())
            return std::nullopt;
        auto first = std::move(items_.front());
        items_.pop_front();
        return first;
    }

    bool complete(const work_item& item, const page& result, const std::vector<std::string>& links) override
    {
        const std::scoped_lock lock{guard_};
        if (!results_.emplace(item.url, result).second)
            return false;
        for (const auto& link : links)
            add(link, item.depth + 1);
        changed_.notify_all(); // perhaps that was the last
        return true;
    }

    std::vector<page> results() override
    {
        const std::scoped_lock lock{guard_};
        std::vector<page> all;
        for (const auto& [url, result] : results_)
            all.push_back(result);
        return all;
    }

private:
    void add(const std::string& url, unsigned depth)
    {
        if (!seen_.insert(url).second)
            return;
        items_.push_back({.id = {}, .url = url, .depth = depth});
        changed_.notify_one();
    }

    coir::mutex guard_;
    coir::condition_variable_any changed_;
    std::deque<work_item> items_;
    std::set<std::string> seen_;
    std::map<std::string, page> results_;
};

} // namespace

std::unique_ptr<work_queue> make_memory_queue()
{
    return std::make_unique<memory_queue>();
}
