// SPDX-License-Identifier: BSL-1.0
//
// Values between fibers, of docs/guide/channels-and-futures.md.
#include <coir/async.hpp>
#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/joinable_channel.hpp>
#include <coir/packaged_task.hpp>
#include <coir/priority_channel.hpp>
#include <coir/promise.hpp>
#include <coir/runtime.hpp>
#include <coir/select.hpp>
#include <coir/wait_any.hpp>

#include <cstdio>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

int sum(std::span<const int> numbers)
{
    coir::this_fiber::yield(); // or ask somebody
    return std::accumulate(numbers.begin(), numbers.end(), 0);
}

void results()
{
    const std::vector<int> numbers{1, 2, 3, 4, 5};
    auto left = coir::async(sum, std::span{numbers}.first(2));
    auto right = coir::async({.name = "right"}, sum, std::span{numbers}.subspan(2));
    std::printf("the sum is %d\n", left.get() + right.get());

    coir::promise<std::string> greeting;
    auto heard = greeting.get_future();
    std::thread elsewhere{[&] { greeting.set_value("hello from a thread"); }};
    std::printf("%s\n", heard.get().c_str());
    elsewhere.join();
}

void first_of_several()
{
    auto ask = [](std::chrono::milliseconds distance) {
        coir::this_fiber::sleep_for(distance);
        return static_cast<int>(distance.count());
    };
    std::vector<coir::future<int>> replicas;
    for (const auto distance : {30ms, 1ms, 20ms})
        replicas.push_back(coir::async(ask, distance));
    const auto nearest = coir::wait_any(replicas);
    std::printf("the nearest answers after %d ms\n", nearest->get());
}

void closing()
{
    coir::channel<int> numbers{2};
    coir::fiber producer{[&] {
        for (int i = 1; i <= 3; ++i)
            numbers.send(i);
        numbers.close();
    }};
    int total = 0;
    while (auto number = numbers.receive_for(1s))
        total += *number;
    std::printf("received %d in all\n", total);
}

void choosing()
{
    coir::channel<int> jobs;
    coir::channel<int> results{4};
    coir::event enough;
    coir::fiber worker{[&] {
        for (bool working = true; working;)
            coir::select(coir::on_receive(jobs, [&](std::optional<int> job) { results.send(*job * *job); }),
                         coir::on_set(enough, [&] { working = false; }),
                         coir::on_timeout(10s, [] { std::printf("nothing to do\n"); }));
    }};
    for (int i = 1; i <= 3; ++i)
        jobs.send(i);
    enough.set();
    worker.join();

    int squares = 0;
    bool more = true;
    while (more)
        coir::select(coir::on_receive(results, [&](std::optional<int> square) { squares += *square; }),
                     coir::otherwise{[&] { more = false; }});
    std::printf("the squares make %d\n", squares);
}

void many_sources()
{
    std::vector<std::unique_ptr<coir::channel<int>>> sources;
    std::vector<coir::receive_case<int>> cases;
    for (int i = 0; i < 3; ++i) {
        sources.push_back(std::make_unique<coir::channel<int>>());
        cases.emplace_back(*sources.back());
    }
    coir::fiber sender{[&] { sources[2]->send(7); }};
    const auto chosen = coir::select(cases);
    std::printf("source %d has %d\n", static_cast<int>(chosen - cases.begin()), *chosen->result());
}

void queues()
{
    coir::priority_channel<int> urgent;
    for (const int priority : {2, 9, 5})
        urgent.send(priority);
    std::printf("the most urgent is %d\n", *urgent.receive());

    coir::joinable_channel<int> jobs;
    int done = 0;
    coir::fiber worker{[&] {
        for (const int job : jobs) {
            done += job;
            jobs.task_done();
        }
    }};
    jobs.send(1);
    jobs.send(1);
    jobs.join(); // received and worked on, not only received
    std::printf("%d jobs are done\n", done);
    jobs.close();
}

} // namespace

int main()
{
    coir::run([] {
        results();
        first_of_several();
        closing();
        choosing();
        many_sources();
        queues();
    });
}
