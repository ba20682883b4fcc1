// SPDX-License-Identifier: BSL-1.0
// Look-ups are owned by whoever waits for them and by the helper that runs them, and never by the resolver:
//
//     resolver --> state --> under_way: question -> look_up     one for each question, until it is answered
//                        --> queue: look_ups without a helper
//                        --> kept: question -> answer
//     fiber, fiber ... --> look_up <-- helper                   `done` wakes all of them, on whatever hub
//
// A helper that has answered takes the next question of the queue. One that everybody has left is never asked.
#include "name_answer.hpp"

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/mutex.hpp>
#include <coir/net/resolver.hpp>
#include <coir/offload.hpp>

#include <boost/asio/error.hpp>

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

namespace coir::net {

namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;
namespace error = boost::asio::error;

/// One question, on its way.
struct look_up {
    std::string key;
    std::function<name_answer()> ask;
    clock::time_point asked_at;             ///< of the first who asked; a helper does not know a fiber's time
    std::atomic<std::size_t> interested{0}; ///< raised under the lock, lowered without

    // Written before `done` is set.
    name_answer result;
    std::exception_ptr failure;
    event done;
};

[[noreturn]] void throw_error(const error_code& ec, const std::string& operation)
{
    throw std::system_error{ec, operation};
}

} // namespace

// ---- the state ------------------------------------------------------------------------------------------------------

struct resolver::state : std::enable_shared_from_this<state> {
    explicit state(const resolver_options& all) : options{all} {}

    name_answer find(std::string key, std::function<name_answer()> ask);

    struct kept_answer {
        std::string key;
        name_answer result;
        clock::time_point until;
    };
    class helper;

    std::shared_ptr<look_up> join_or_start(std::string&& key, std::function<name_answer()>&& ask, name_answer& known);
    const name_answer* find_kept(const std::string& key);
    void keep(const look_up& ended);
    std::shared_ptr<look_up> finish_and_take_next(const look_up& ended);

    const resolver_options options;
    mutable coir::mutex guard; ///< for all that follows
    std::map<std::string, std::shared_ptr<look_up>, std::less<>> under_way;
    std::deque<std::shared_ptr<look_up>> queue;
    std::list<kept_answer> kept; ///< the oldest first
    std::map<std::string_view, std::list<kept_answer>::iterator> kept_by_key;
    counts numbers;
};

/// Answers questions until there are none, on a helper thread.
class resolver::state::helper final : public offload_job {
public:
    helper(std::shared_ptr<state> of, std::shared_ptr<look_up> first) : of_{std::move(of)}, next_{std::move(first)} {}

    static void start(std::unique_ptr<helper> job)
    {
        try {
            offload_submit(*job);
            static_cast<void>(job.release()); // it is its own now
        } catch (const std::system_error&) {
            job.release()->run(); // no helper thread could be started: block, rather than fail
        }
    }

    void run() noexcept override
    {
        const std::unique_ptr<helper> itself{this};
        while (next_) {
            try {
                next_->result = next_->ask();
            } catch (...) {
                next_->failure = std::current_exception();
            }
            auto following = of_->finish_and_take_next(*next_);
            next_->done.set();
            next_ = std::move(following);
        }
    }

private:
    std::shared_ptr<state> of_;
    std::shared_ptr<look_up> next_;
};

const name_answer* resolver::state::find_kept(const std::string& key)
{
    const auto found = kept_by_key.find(key);
    if (found == kept_by_key.end())
        return nullptr;
    if (found->second->until > clock::now())
        return &found->second->result;
    const auto expired = found->second;
    kept_by_key.erase(found);
    kept.erase(expired);
    return nullptr;
}

void resolver::state::keep(const look_up& ended)
{
    if (ended.failure)
        return;
    // That no server has answered, or memory was short, says nothing of the name.
    const bool absent = ended.result.failure == error::host_not_found;
    if (ended.result.failure && !absent)
        return;
    const auto lasts = absent ? options.negative_ttl : options.ttl;
    if (lasts <= lasts.zero() || options.entries_max == 0)
        return;
    if (const auto old = kept_by_key.find(ended.key); old != kept_by_key.end()) {
        const auto which = old->second;
        kept_by_key.erase(old);
        kept.erase(which);
    }
    while (kept.size() >= options.entries_max) {
        kept_by_key.erase(kept.front().key);
        kept.pop_front();
    }
    const auto until = lasts >= never - ended.asked_at ? never : ended.asked_at + lasts;
    try {
        kept.push_back({ended.key, ended.result, until});
    } catch (const std::bad_alloc&) {
        return; // it is asked again, then
    }
    try {
        kept_by_key.emplace(kept.back().key, std::prev(kept.end()));
    } catch (const std::bad_alloc&) {
        kept.pop_back();
    }
}

std::shared_ptr<look_up> resolver::state::finish_and_take_next(const look_up& ended)
{
    const std::scoped_lock held{guard};
    keep(ended);
    under_way.erase(ended.key);
    while (!queue.empty()) {
        auto next = std::move(queue.front());
        queue.pop_front();
        if (next->interested.load(std::memory_order_acquire) > 0) {
            ++numbers.looked_up;
            return next;
        }
        under_way.erase(next->key);
    }
    --numbers.running;
    return nullptr;
}

/// Null where the answer is `known`.
std::shared_ptr<look_up> resolver::state::join_or_start(std::string&& key, std::function<name_answer()>&& ask,
                                                        name_answer& known)
{
    std::unique_lock held{guard};
    if (const auto* remembered = find_kept(key)) {
        ++numbers.remembered;
        known = *remembered;
        return nullptr;
    }
    if (const auto found = under_way.find(key); found != under_way.end()) {
        ++numbers.shared;
        found->second->interested.fetch_add(1, std::memory_order_relaxed);
        return found->second;
    }
    auto mine = std::make_shared<look_up>();
    mine->key = std::move(key);
    mine->ask = std::move(ask);
    mine->asked_at = clock::now();
    mine->interested = 1;
    const auto place = under_way.emplace(mine->key, mine).first;
    std::unique_ptr<helper> job;
    try {
        if (numbers.running < std::max<std::size_t>(1, options.lookups_max))
            job = std::make_unique<helper>(shared_from_this(), mine);
        else
            queue.push_back(mine);
    } catch (...) {
        under_way.erase(place);
        throw;
    }
    if (!job)
        return mine;
    ++numbers.running;
    ++numbers.looked_up;
    held.unlock();
    helper::start(std::move(job));
    return mine;
}

name_answer resolver::state::find(std::string key, std::function<name_answer()> ask)
{
    if (this_fiber::active())
        this_fiber::check_cancelled();
    const outside_work counted;
    name_answer known;
    const auto asked = join_or_start(std::move(key), std::move(ask), known);
    if (!asked)
        return known;
    struct leave {
        look_up& from;
        ~leave() { from.interested.fetch_sub(1, std::memory_order_release); }
    };
    const leave afterwards{*asked};
    asked->done.wait();
    if (asked->failure)
        std::rethrow_exception(asked->failure);
    return asked->result;
}

// ---- the resolver ---------------------------------------------------------------------------------------------------

namespace {

resolver* shared_resolver = nullptr;

} // namespace

resolver::resolver(const resolver_options& options) : state_{std::make_shared<state>(options)} {}
resolver::resolver(resolver&&) noexcept = default;
resolver& resolver::operator=(resolver&&) noexcept = default;
resolver::~resolver() = default;

// As offload_pool::shared, whose threads may use it until the process ends.
resolver& resolver::shared()
{
    static const bool prepared = [] {
        shared_resolver = new resolver;
        ::pthread_atfork(nullptr, nullptr, [] { shared_resolver = new resolver; });
        return true;
    }();
    static_cast<void>(prepared);
    return *shared_resolver;
}

host_addresses resolver::resolve(const name_query& query, error_code& ec)
{
    ec.clear();
    host_addresses found;
    if (answer_in_place(query, found, ec))
        return found;
    auto result = state_->find(key_of(query), [query, &options = state_->options] {
        if (!options.ask)
            return ask_for_addresses(query);
        name_answer given;
        given.failure = options.ask(query, given.addresses);
        return given;
    });
    ec = result.failure;
    return std::move(result.addresses);
}

host_addresses resolver::resolve(const name_query& query)
{
    error_code ec;
    auto found = resolve(query, ec);
    if (ec)
        throw_error(ec, "coir::net::resolver::resolve: " + query.host +
                            (query.service.empty() ? std::string{} : ":" + query.service));
    return found;
}

endpoint_names resolver::names_of(const tcp::endpoint& endpoint, error_code& ec)
{
    auto result = state_->find(key_of(endpoint), [endpoint] { return ask_for_names(endpoint); });
    ec = result.failure;
    return std::move(result.names);
}

endpoint_names resolver::names_of(const tcp::endpoint& endpoint)
{
    error_code ec;
    auto names = names_of(endpoint, ec);
    if (ec)
        throw_error(ec, "coir::net::resolver::names_of: " + endpoint.address().to_string());
    return names;
}

void resolver::forget()
{
    const std::scoped_lock held{state_->guard};
    state_->kept_by_key.clear();
    state_->kept.clear();
}

resolver::counts resolver::count() const
{
    const std::scoped_lock held{state_->guard};
    auto numbers = state_->numbers;
    numbers.waiting = state_->queue.size();
    numbers.kept = state_->kept.size();
    return numbers;
}

tcp::resolver::results_type host_addresses::as_results(const name_query& of) const
{
    return tcp::resolver::results_type::create(endpoints.begin(), endpoints.end(), of.host, of.service);
}

} // namespace coir::net
