// SPDX-License-Identifier: BSL-1.0
//
// The locks of docs/guide/locks.md.
#include <coir/barrier.hpp>
#include <coir/condition_variable_any.hpp>
#include <coir/fiber_group.hpp>
#include <coir/latch.hpp>
#include <coir/mutex.hpp>
#include <coir/once.hpp>
#include <coir/runtime.hpp>
#include <coir/shared_mutex.hpp>

#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// Many read the prices at once; who changes one is alone.
class prices {
public:
    std::optional<int> of(const std::string& what) const
    {
        const std::shared_lock lock{mutex_};
        const auto found = by_name_.find(what);
        return found == by_name_.end() ? std::nullopt : std::optional{found->second};
    }
    void set(const std::string& what, int price)
    {
        const std::scoped_lock lock{mutex_};
        by_name_[what] = price;
    }

private:
    mutable coir::shared_mutex mutex_;
    std::map<std::string, int> by_name_;
};

void look_up_prices()
{
    prices market;
    coir::once_flag opened;
    auto price_of = [&](const std::string& what) {
        coir::call_once(opened, [&] {
            coir::this_fiber::sleep_for(5ms); // the first who asks fetches them, and the others wait
            market.set("tea", 3);
            market.set("milk", 1);
        });
        return market.of(what);
    };
    int total = 0;
    coir::fiber_group buyers;
    for (const char* what : {"tea", "milk", "tea"})
        buyers.spawn([&, what] { total += price_of(what).value_or(0); });
    buyers.join();
    std::printf("tea, milk and tea: %d\n", total);
}

/// Serves nobody before all of its parts are there.
void start_up()
{
    constexpr int parts = 3;
    coir::latch ready{parts};
    coir::fiber_group loading;
    for (int part = 1; part <= parts; ++part)
        loading.spawn([&, part] {
            coir::this_fiber::sleep_for(part * 1ms); // load it
            ready.count_down();
        });
    ready.wait();
    std::printf("%d parts are ready\n", parts);
    loading.join();
}

/// Heat spreads along a bar. Each fiber computes a part of every step from the whole of the step before.
void simulate()
{
    constexpr std::size_t workers = 4;
    constexpr std::size_t cells = 64;
    std::vector<double> now(cells, 0.0);
    now[cells / 2] = 100.0;
    std::vector<double> next = now;

    int steps = 0;
    coir::barrier step{workers, [&]() noexcept {
                           std::swap(now, next);
                           ++steps;
                       }};
    coir::fiber_group group;
    for (std::size_t worker = 0; worker < workers; ++worker)
        group.spawn([&, first = worker * cells / workers, end = (worker + 1) * cells / workers] {
            for (int i = 0; i < 100; ++i) {
                for (auto cell = first; cell < end; ++cell)
                    next[cell] = (now[(cell + cells - 1) % cells] + now[cell] + now[(cell + 1) % cells]) / 3;
                step.arrive_and_wait();
            }
        });
    group.join();
    std::printf("after %d steps the bar holds %.0f\n", steps, std::accumulate(now.begin(), now.end(), 0.0));
}

/// A worker that takes jobs until it is asked to stop, and then finishes those that are left.
void work_until_stopped()
{
    coir::mutex mutex;
    coir::condition_variable_any added;
    std::deque<int> jobs;
    int done = 0;

    coir::fiber worker{[&](std::stop_token stop) {
        std::unique_lock lock{mutex};
        while (added.wait(lock, stop, [&] { return !jobs.empty(); })) {
            done += jobs.front();
            jobs.pop_front();
        }
    }};
    for (int job = 1; job <= 4; ++job) {
        {
            const std::scoped_lock lock{mutex};
            jobs.push_back(job);
        }
        added.notify_one();
    }
    worker.request_stop();
    worker.join();
    std::printf("the jobs come to %d\n", done);
}

/// Rather an old answer than a late one.
void do_not_wait_for_long()
{
    coir::timed_mutex cache_mutex;
    const std::scoped_lock busy{cache_mutex};
    coir::fiber impatient{[&] {
        if (const std::unique_lock lock{cache_mutex, 2ms})
            std::printf("from the cache\n");
        else
            std::printf("the cache is busy\n");
    }};
    impatient.join();
}

} // namespace

int main()
{
    coir::run([] {
        look_up_prices();
        start_up();
        simulate();
        work_until_stopped();
        do_not_wait_for_long();
    });
}
