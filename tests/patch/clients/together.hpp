// SPDX-License-Identifier: BSL-1.0
#pragma once
// What the tests of client libraries have in common: the same code on a plain thread and in a fiber, many fibers at
// once, counted, and calls that are cut off.
#include "server.hpp"

#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/inspect.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace clients {

using namespace std::chrono_literals;

/// Calls `function` on a thread that knows nothing of fibers.
template <class Function> auto natively(Function&& function)
{
    std::optional<std::invoke_result_t<Function&>> result;
    std::thread{[&] { result.emplace(function()); }}.join();
    return std::move(*result);
}

template <class Function> auto in_a_fiber(Function&& function)
{
    return coir::run(function);
}

/// The same on a plain thread and in a fiber.
template <class Work> auto check_native(Work&& work)
{
    const auto expected = natively(work);
    CHECK(in_a_fiber(work) == expected);
    return expected;
}

/// Runs both at the same time, on threads and then in fibers. `work(both)` calls `both(first, second)`.
template <class Work> auto check_native_pair(Work&& work)
{
    const auto expected = work([](auto first, auto second) {
        std::thread one{first};
        second();
        one.join();
    });
    const auto in_fibers = in_a_fiber([&] {
        return work([](auto first, auto second) {
            coir::fiber one{first};
            second();
            one.join();
        });
    });
    CHECK(in_fibers == expected);
    return expected;
}

/// The entries of a directory of /proc that are numbers.
template <class Visit> void for_each_number(const char* path, Visit visit)
{
    DIR* directory = ::opendir(path);
    while (const dirent* entry = ::readdir(directory)) {
        int number = 0;
        const char* end = entry->d_name + std::strlen(entry->d_name);
        if (std::from_chars(entry->d_name, end, number).ptr == end)
            visit(number);
    }
    ::closedir(directory);
}

/// OS threads of this process that could be at work on the requests: not the test program's watchdog, nor a sanitizer's
/// or coir's helpers.
inline std::size_t working_threads()
{
    std::size_t count = 0;
    for_each_number("/proc/self/task", [&](int id) {
        std::string name;
        std::getline(std::ifstream{"/proc/self/task/" + std::to_string(id) + "/comm"}, name);
        count += name != "watchdog" && name != "coir-offload";
    });
    return count;
}

inline bool is_nonblocking(int descriptor)
{
    return ::fcntl(descriptor, F_GETFL) & O_NONBLOCK;
}

/// Internet and Unix stream sockets that have O_NONBLOCK set.
inline std::size_t nonblocking_sockets()
{
    std::size_t count = 0;
    for_each_number("/proc/self/fd", [&](int descriptor) {
        int domain = 0;
        socklen_t size = sizeof domain;
        count += ::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && is_nonblocking(descriptor);
    });
    return count;
}

inline bool waits_for_descriptor(const coir::fiber_info& one)
{
    return one.name == "request" && one.doing == coir::fiber_info::state::waiting && one.waiting_for.descriptor >= 0;
}

/// The most that was seen at one time.
struct crowd {
    std::size_t waiting = 0; ///< fibers that waited for a descriptor
    std::size_t threads = 0;
    std::size_t nonblocking = 0;

    void look()
    {
        const auto all = coir::fibers();
        const auto now = std::ranges::count_if(all, waits_for_descriptor);
        waiting = std::max(waiting, static_cast<std::size_t>(now));
        threads = std::max(threads, working_threads());
        nonblocking = std::max(nonblocking, nonblocking_sockets());
    }
};

/// Calls `request(0)` to `request(count - 1)`, each in a fiber of its own, all on this thread. Looks at them from one
/// more fiber, which calls `release` as soon as all of them wait for a descriptor at once: so there is an answer only
/// if they do.
template <class Request, class Release> crowd together(std::size_t count, Request&& request, Release&& release)
{
    crowd most;
    bool released = false;
    coir::run([&] {
        coir::fiber_group requests;
        for (std::size_t i = 0; i < count; ++i)
            requests.spawn({.name = "request"}, [&request, i] { request(i); });
        while (requests.size() > 0) {
            coir::this_fiber::sleep_for(5ms);
            most.look();
            if (most.waiting == count && !std::exchange(released, true))
                release();
        }
        requests.join();
    });
    return most;
}

/// The same with nobody to release.
template <class Request> crowd together(std::size_t count, Request&& request)
{
    return together(count, std::forward<Request>(request), [] {});
}

/// The same for a server that answers when `count + 1` requests have come: `request(count)` is the last one, made by
/// the fiber that looks.
template <class Request> crowd all_but_one_together(std::size_t count, Request&& request)
{
    return together(count, request, [&] { request(count); });
}

/// In a fiber, until `count` fibers that are called "request" wait for an answer. Who still waits for a connection
/// waits for a descriptor too; where that takes the kernel a moment, it is over after some looks.
inline void wait_until_waiting(std::size_t count)
{
    constexpr int looks = 5;
    for (int seen = 0; seen < looks;) {
        coir::this_fiber::sleep_for(1ms);
        const auto all = coir::fibers();
        const auto now = std::ranges::count_if(all, [](const coir::fiber_info& each) {
            return waits_for_descriptor(each) && each.waiting_for.what != std::string_view{"writable"};
        });
        seen = static_cast<std::size_t>(now) >= count ? seen + 1 : 0;
    }
}

// ---- cut off --------------------------------------------------------------------------------------------------------

/// What `work` gives in a fiber that has 200 ms for it, which must be too few.
template <class Work> auto with_deadline(Work&& work)
{
    return in_a_fiber([&] {
        coir::timeout limit{200ms};
        auto result = work();
        CHECK(limit.expired());
        return result;
    });
}

/// What `work` gives in a fiber that is cancelled as soon as it waits for a descriptor.
template <class Work> auto with_cancellation(Work&& work)
{
    std::optional<std::invoke_result_t<Work&>> result;
    coir::run([&] {
        coir::fiber one{{.name = "request"}, [&] { result.emplace(work()); }};
        wait_until_waiting(1);
        one.cancel();
        one.join();
    });
    return std::move(*result);
}

/// Until a thread of this process sleeps in the kernel.
inline void wait_until_asleep(pid_t thread)
{
    const auto asleep = [&] {
        std::string stat;
        std::getline(std::ifstream{"/proc/self/task/" + std::to_string(thread) + "/stat"}, stat);
        const auto name_end = stat.rfind(')');
        return name_end != std::string::npos && stat.substr(name_end, 3) == ") S";
    };
    constexpr int looks = 5; // it may sleep for a moment for other reasons
    for (int seen = 0; seen < looks; seen = asleep() ? seen + 1 : 0)
        ::usleep(1'000);
}

/// Kills a server while `work(mine)` waits for its answer on a plain thread and in ten fibers, all with what
/// `connect()` gives. All see the same; returns what.
template <class Connect, class Work> auto check_killed_midway(server_process& server, Connect&& connect, Work&& work)
{
    constexpr std::size_t count = 10;
    std::vector<std::invoke_result_t<Connect&>> connections;
    for (std::size_t i = 0; i <= count; ++i)
        connections.push_back(connect());
    using result_type = std::invoke_result_t<Work&, decltype(connections[0])>;
    std::optional<result_type> expected;
    std::vector<result_type> results(count);

    paused stopped{server};
    std::atomic<pid_t> thread = 0;
    std::thread plain{[&] {
        thread = ::gettid();
        thread.notify_one();
        expected.emplace(work(connections[count]));
    }};
    thread.wait(0);
    wait_until_asleep(thread);
    coir::run([&] {
        coir::fiber_group requests;
        for (std::size_t i = 0; i < count; ++i)
            requests.spawn({.name = "request"}, [&, i] { results[i] = work(connections[i]); });
        wait_until_waiting(count);
        server.kill();
        requests.join();
    });
    plain.join();
    for (const auto& each : results)
        CHECK(each == *expected);
    return *expected;
}

/// How many descriptors are open.
inline std::size_t open_descriptors()
{
    std::size_t count = 0;
    for_each_number("/proc/self/fd", [&](int) { ++count; });
    return count;
}

/// Thousands of connections need more descriptors than a shell usually allows.
inline void allow_many_descriptors()
{
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
}

} // namespace clients
