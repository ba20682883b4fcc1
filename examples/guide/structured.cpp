// SPDX-License-Identifier: BSL-1.0
//
// Scopes that fibers, and what they wait for, do not outlive, as in docs/guide/structured-concurrency.md.
#include <coir/as_completed.hpp>
#include <coir/cancel_scope.hpp>
#include <coir/context_value.hpp>
#include <coir/fiber_pool.hpp>
#include <coir/map.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct page {
    std::string name;
    std::size_t size;
};

/// Stands for something slow: the longer the name, the longer it takes.
page fetch(const std::string& name)
{
    coir::this_fiber::sleep_for(20ms * name.size());
    if (name == "missing")
        throw std::runtime_error{"no page of that name"};
    return {name, 100 * name.size()};
}

const std::vector<std::string> names{"longest", "short", "a"};

coir::context_value<int> request_number{0};

void log(const char* what)
{
    std::printf("request %d: %s\n", *request_number, what);
}

void a_group()
{
    coir::fiber_group fetches;
    auto first = fetches.async([] { return fetch("one"); });
    auto second = fetches.async([] { return fetch("two"); });
    fetches.join(); // both have ended, or the first failure is thrown here
    std::printf("%zu bytes together\n", first.get().size + second.get().size);
}

void a_pool()
{
    coir::fiber_pool workers{2};
    std::size_t bytes = 0;
    for (const auto& name : names)
        workers.spawn([&] { bytes += fetch(name).size; }); // waits while two are at work
    workers.join();
    std::printf("%zu bytes, two at a time\n", bytes);
}

void a_range()
{
    for (const page& each : coir::map(names, fetch, {.concurrency = 10}))
        std::printf("%s ", each.name.c_str());
    std::printf("(in their order)\n");

    for (const page& each : coir::as_completed(names, fetch))
        std::printf("%s ", each.name.c_str());
    std::printf("(as they came)\n");

    try {
        coir::for_each(std::vector<std::string>{"missing", "some other page"}, fetch);
    } catch (const std::runtime_error& error) {
        std::printf("the others were cancelled: %s\n", error.what());
    }
}

void a_part_that_can_be_cut_off()
{
    coir::cancel_scope search;
    coir::fiber user{[&] {
        coir::this_fiber::sleep_for(10ms);
        search.cancel(); // from any thread
    }};
    if (!search.run([] { coir::this_fiber::sleep_for(1h); }))
        std::printf("the search was given up\n");

    if (auto answer = coir::try_for(10ms, [] { return fetch(std::string(1000, 'x')); }))
        std::printf("%zu bytes\n", answer->size);
    else
        std::printf("no answer within 10 ms\n");
}

void values_that_follow()
{
    const coir::context_value<int>::binding bound{request_number, 42};
    coir::fiber worker{[] {
        log("in a fiber of its own");
        coir::offload([] { log("on a helper thread"); });
    }};
    worker.join();
}

} // namespace

int main()
{
    coir::run([] {
        a_group();
        a_pool();
        a_range();
        a_part_that_can_be_cut_off();
        values_that_follow();
    });
}
