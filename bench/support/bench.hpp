// SPDX-License-Identifier: BSL-1.0
#pragma once
// What every benchmark program shares: numbers from the command line, a stopwatch for CPU time, and one line of JSON.
//
//     const auto count = bench::argument(argc, argv, 1, 1'000'000);
//     bench::stopwatch watch;
//     ...
//     watch.report(count);       // {"operations": 1000000, "cpu_ns": 4600000, "wall_ns": 4600123}
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <initializer_list>
#include <string>
#include <sys/resource.h>
#include <utility>

namespace bench {

using number = std::int64_t;

inline number argument(int argc, char** argv, int index, number otherwise)
{
    return index < argc ? std::atoll(argv[index]) : otherwise;
}

inline number time_of(clockid_t clock)
{
    timespec now{};
    ::clock_gettime(clock, &now);
    return now.tv_sec * number{1'000'000'000} + now.tv_nsec;
}

struct field {
    const char* name;
    number value;
};

inline void print(std::initializer_list<field> first, std::initializer_list<field> rest = {})
{
    const char* separator = "{";
    for (const auto& fields : {first, rest})
        for (const auto& [name, value] : fields)
            std::printf("%s\"%s\": %lld", std::exchange(separator, ", "), name, static_cast<long long>(value));
    std::puts("}");
    std::fflush(stdout);
}

/// CPU time of the whole process and wall time, from construction or `restart` to `stop`.
class stopwatch {
public:
    stopwatch() { restart(); }
    void restart()
    {
        wall_ = -time_of(CLOCK_MONOTONIC);
        cpu_ = -time_of(CLOCK_PROCESS_CPUTIME_ID);
    }
    void stop()
    {
        cpu_ += time_of(CLOCK_PROCESS_CPUTIME_ID);
        wall_ += time_of(CLOCK_MONOTONIC);
    }
    number wall_ns() const { return wall_; }

    void print_totals(number operations, std::initializer_list<field> more = {}) const
    {
        print({{"operations", operations}, {"cpu_ns", cpu_}, {"wall_ns", wall_}}, more);
    }
    void report(number operations, std::initializer_list<field> more = {})
    {
        stop();
        print_totals(operations, more);
    }

private:
    number cpu_;
    number wall_;
};

/// A line of /proc/self/status, or another process's, such as VmRSS or VmPTE, in bytes.
inline number status_bytes(const std::string& name, const std::string& file = "/proc/self/status")
{
    std::ifstream status{file};
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(name + ':'))
            return std::atoll(line.c_str() + name.size() + 1) * 1024;
    return 0;
}

inline number mappings()
{
    std::ifstream maps{"/proc/self/maps"};
    number count = 0;
    for (std::string line; std::getline(maps, line);)
        ++count;
    return count;
}

/// Not getrusage's, which counts what the process was before exec too.
inline number peak_rss()
{
    return status_bytes("VmHWM");
}

/// As many descriptors as we may have: more than the hard limit where we may raise that.
inline void raise_descriptor_limit()
{
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit wanted{.rlim_cur = 200'000, .rlim_max = std::max(limit.rlim_max, rlim_t{200'000})};
    if (limit.rlim_max >= wanted.rlim_cur || ::setrlimit(RLIMIT_NOFILE, &wanted) != 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

} // namespace bench
