// SPDX-License-Identifier: BSL-1.0
// The queue of many processes, on any number of machines, in Redis. For a crawl named "fleet":
//
//     fleet:queue    a stream with what is to be fetched. A consumer group delivers each item to one worker, and
//                    remembers to whom until it is acknowledged
//     fleet:seen     a set of all URLs that were ever added
//     fleet:results  a hash from URLs to results; all is done when it has as many as there are in fleet:seen
//
// An item is fetched at least once, because who has fetched it may die before saying so. It is completed once: one
// script writes the result if there is none, adds new links to the set and the stream, and acknowledges the item; Redis
// runs it entirely or not at all. Who works on an item says so from time to time, and what has not been heard of for
// --claim-after is claimed by another.
#include "options.hpp"
#include "redis_pool.hpp"
#include "work_queue.hpp"

#include <coir/fiber.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto seed_script = R"(
if redis.call('SADD', KEYS[2], ARGV[1]) == 1 then
  redis.call('XADD', KEYS[1], '*', 'url', ARGV[1], 'depth', 0)
end)";

constexpr auto complete_script = R"(
local first = redis.call('HSETNX', KEYS[3], ARGV[3], ARGV[4])
if first == 1 then
  for i = 6, #ARGV do
    if redis.call('SADD', KEYS[2], ARGV[i]) == 1 then
      redis.call('XADD', KEYS[1], '*', 'url', ARGV[i], 'depth', ARGV[5])
    end
  end
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
return first)";

/// If it is still ours, it is ours from now on.
constexpr auto renew_script = R"(
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 1 then
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
end)";

constexpr auto drained_script = R"(
local seen = redis.call('SCARD', KEYS[2])
return seen > 0 and seen == redis.call('HLEN', KEYS[3]) and 1 or 0)";

unsigned number_in(const std::string& text)
{
    unsigned number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

/// [id, [name, value, ...]], as XREADGROUP and XCLAIM have it.
work_item item_in(const redisReply& entry)
{
    work_item item;
    item.id = text_of(*entry.element[0]);
    const auto& fields = *entry.element[1];
    for (std::size_t i = 0; i + 1 < fields.elements; i += 2) {
        const auto name = text_of(*fields.element[i]);
        if (name == "url")
            item.url = text_of(*fields.element[i + 1]);
        else if (name == "depth")
            item.depth = number_in(text_of(*fields.element[i + 1]));
    }
    return item;
}

std::string to_json(const page& result)
{
    return nlohmann::json{{"url", result.url},     {"depth", result.depth}, {"status", result.status},
                          {"bytes", result.bytes}, {"error", result.error}, {"worker", result.worker}}
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

page from_json(const std::string& text)
{
    const auto json = nlohmann::json::parse(text);
    return {json.at("url"), json.at("depth"), json.at("status"), json.at("bytes"), json.at("error"), json.at("worker")};
}

class redis_queue final : public work_queue {
public:
    explicit redis_queue(const options& opts) : opts_{opts}, redis_{*opts.redis, opts.patience}
    {
        try {
            redis_.ask_once([&](redis_connection& redis) {
                redis.command({"XGROUP", "CREATE", queue_, opts_.group, "0", "MKSTREAM"});
            });
        } catch (const redis_lost&) {
            throw;
        } catch (const std::runtime_error& error) {
            if (std::string_view{error.what()}.find("BUSYGROUP") == std::string_view::npos) // it is there already
                throw;
        }
        renewer_ = coir::fiber{{.name = "renewer"}, [this](std::stop_token) { renew_for_ever(); }};
    }
    redis_queue(const redis_queue&) = delete;
    redis_queue& operator=(const redis_queue&) = delete;
    ~redis_queue() override { renewer_.cancel(); }

    void seed(const std::string& url) override
    {
        redis_.ask([&](redis_connection& redis) { return run(redis, seed_script, {url}); });
    }

    std::optional<work_item> take(std::stop_token stop) override
    {
        while (!stop.stop_requested()) {
            auto item = redis_.ask([&](redis_connection& redis) {
                auto found = claim(redis);
                return found ? found : read_new(redis);
            });
            if (item) {
                held_.insert(item->id);
                return item;
            }
            if (opts_.idle_exit &&
                redis_.ask([&](redis_connection& redis) { return run(redis, drained_script)->integer; }))
                break;
        }
        return std::nullopt;
    }

    bool complete(const work_item& item, const page& result, const std::vector<std::string>& links) override
    {
        std::vector<std::string> arguments{opts_.group, item.id, item.url, to_json(result),
                                           std::to_string(item.depth + 1)};
        arguments.insert(arguments.end(), links.begin(), links.end());
        // If the connection breaks before the answer has come, the second try finds what the first has done.
        const bool first =
            redis_.ask([&](redis_connection& redis) { return run(redis, complete_script, arguments)->integer; });
        held_.erase(item.id);
        return first;
    }

    std::vector<page> results() override
    {
        const auto reply = redis_.ask([&](redis_connection& redis) { return redis.command({"HVALS", results_}); });
        std::vector<page> all;
        for (std::size_t i = 0; i < reply->elements; ++i)
            all.push_back(from_json(text_of(*reply->element[i])));
        std::ranges::sort(all, {}, &page::url);
        return all;
    }

private:
    redis_reply run(redis_connection& redis, const char* script, std::vector<std::string> arguments = {})
    {
        std::vector<std::string> words{"EVAL", script, "3", queue_, seen_, results_};
        std::ranges::move(arguments, std::back_inserter(words));
        return redis.command(words);
    }

    std::optional<work_item> read_new(redis_connection& redis)
    {
        const auto wait = std::clamp(opts_.claim_after / 2, 1ms, 500ms); // then look for what can be claimed
        const auto reply = redis.command({"XREADGROUP", "GROUP", opts_.group, opts_.worker, "COUNT", "1", "BLOCK",
                                          std::to_string(wait.count()), "STREAMS", queue_, ">"});
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) // nothing came
            return std::nullopt;
        const auto& entries = *reply->element[0]->element[1];
        return entries.elements == 0 ? std::nullopt : std::optional{item_in(*entries.element[0])};
    }

    /// What somebody has not finished, and has not been heard of.
    std::optional<work_item> claim(redis_connection& redis)
    {
        if (steady_clock::now() < next_claim_)
            return std::nullopt;
        const auto idle = std::to_string(opts_.claim_after.count());
        const auto pending = redis.command({"XPENDING", queue_, opts_.group, "IDLE", idle, "-", "+", "1"});
        if (pending->elements == 0) {
            next_claim_ = steady_clock::now() + opts_.claim_after / 4;
            return std::nullopt;
        }
        const auto& first = *pending->element[0]; // [id, whose, idle since, deliveries]
        const auto claimed =
            redis.command({"XCLAIM", queue_, opts_.group, opts_.worker, idle, text_of(*first.element[0])});
        if (claimed->elements == 0 || claimed->element[0]->type != REDIS_REPLY_ARRAY) // another was faster
            return std::nullopt;
        auto item = item_in(*claimed->element[0]);
        item.deliveries = static_cast<unsigned>(first.element[3]->integer) + 1;
        return item;
    }

    /// A page may take longer than --claim-after.
    void renew_for_ever()
    {
        for (;;) {
            coir::this_fiber::sleep_for(opts_.claim_after / 3);
            const auto ids = held_;
            try {
                redis_.ask_once([&](redis_connection& redis) {
                    for (const auto& id : ids)
                        run(redis, renew_script, {opts_.group, opts_.worker, id});
                });
            } catch (const std::runtime_error&) {
                // The workers will notice.
            }
        }
    }

    const options opts_;
    const std::string queue_ = opts_.crawl + ":queue";
    const std::string seen_ = opts_.crawl + ":seen";
    const std::string results_ = opts_.crawl + ":results";
    redis_pool redis_;
    std::set<std::string> held_; ///< items that are being worked on here
    steady_clock::time_point next_claim_{};
    coir::fiber renewer_; ///< the last member: it uses the others
};

} // namespace

std::unique_ptr<work_queue> make_redis_queue(const options& opts)
{
    return std::make_unique<redis_queue>(opts);
}
