// SPDX-License-Identifier: BSL-1.0
#pragma once
// What the tests of client libraries have in common: the same code on a plain thread and in a fiber, and many fibers
// at once, counted.
#include <coir/fiber_group.hpp>
#include <coir/inspect.hpp>
#include <coir/runtime.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>

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

/// The most that was seen at one time.
struct crowd {
    std::size_t waiting = 0; ///< fibers that waited for a descriptor
    std::size_t threads = 0;
    std::size_t nonblocking = 0;

    void look()
    {
        const auto all = coir::fibers();
        const auto now = std::ranges::count_if(all, [](const coir::fiber_info& each) {
            return each.name == "request" && each.doing == coir::fiber_info::state::waiting &&
                   each.waiting_for.descriptor >= 0;
        });
        waiting = std::max(waiting, static_cast<std::size_t>(now));
        threads = std::max(threads, working_threads());
        nonblocking = std::max(nonblocking, nonblocking_sockets());
    }
};

/// Calls `request(0)` to `request(count - 1)`, each in a fiber of its own, all on this thread. Looks at them from one
/// more fiber.
template <class Request> crowd together(std::size_t count, Request&& request)
{
    crowd most;
    coir::run([&] {
        coir::fiber_group requests;
        for (std::size_t i = 0; i < count; ++i)
            requests.spawn({.name = "request"}, [&request, i] { request(i); });
        while (requests.size() > 0) {
            coir::this_fiber::sleep_for(5ms);
            most.look();
        }
        requests.join();
    });
    return most;
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
