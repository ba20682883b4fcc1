// SPDX-License-Identifier: BSL-1.0
//
// cpu_bound [--work N] [--tasks N]: what fibers do not speed up. The same computation one after the other, in fibers,
// on threads, on coir's helper threads, and in processes.
#include <coir/fiber_group.hpp>
#include <coir/offload.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using steady_clock = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

namespace {

using numbers = std::vector<std::uint64_t>;

/// Nothing but arithmetic, each step needing the one before.
std::uint64_t compute(std::uint64_t seed, std::uint64_t steps)
{
    std::uint64_t value = seed + 1;
    for (std::uint64_t i = 0; i < steps; ++i) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    return value;
}

/// A fiber that wants to run every millisecond, and how long it was kept from it.
class ticker {
public:
    ticker() : fiber_{{.name = "ticker"}, [this] { tick(); }} { coir::this_fiber::yield(); }
    seconds stop()
    {
        fiber_.request_stop();
        fiber_.join();
        return worst_;
    }

private:
    void tick()
    {
        const auto stop = coir::this_fiber::get_stop_token();
        while (!stop.stop_requested()) {
            const auto begin = steady_clock::now();
            coir::this_fiber::sleep_for(1ms);
            worst_ = std::max<seconds>(worst_, steady_clock::now() - begin - 1ms);
        }
    }

    seconds worst_{};
    coir::fiber fiber_;
};

/// One way to do the tasks. Returns how long other fibers were kept waiting, where there are any.
using method = std::function<std::optional<seconds>(numbers& results, std::uint64_t steps)>;

std::optional<seconds> sequentially(numbers& results, std::uint64_t steps)
{
    for (std::size_t i = 0; i < results.size(); ++i)
        results[i] = compute(i, steps);
    return std::nullopt;
}

std::optional<seconds> in_fibers(numbers& results, std::uint64_t steps)
{
    return coir::run([&] {
        ticker other;
        coir::fiber_group fibers;
        for (std::size_t i = 0; i < results.size(); ++i)
            fibers.spawn([&, i] { results[i] = compute(i, steps); });
        fibers.join();
        return other.stop();
    });
}

std::optional<seconds> on_threads(numbers& results, std::uint64_t steps)
{
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < results.size(); ++i)
        threads.emplace_back([&, i] { results[i] = compute(i, steps); });
    return std::nullopt;
}

std::optional<seconds> with_offload(numbers& results, std::uint64_t steps)
{
    return coir::run([&] {
        ticker other;
        coir::fiber_group fibers;
        for (std::size_t i = 0; i < results.size(); ++i)
            fibers.spawn([&, i] { results[i] = coir::offload([&] { return compute(i, steps); }); });
        fibers.join();
        return other.stop();
    });
}

std::optional<seconds> in_processes(numbers& results, std::uint64_t steps)
{
    std::vector<std::pair<pid_t, int>> children;
    for (std::size_t i = 0; i < results.size(); ++i) {
        int ends[2];
        if (::pipe(ends) != 0)
            throw std::system_error(errno, std::generic_category(), "pipe");
        const auto id = ::fork();
        if (id < 0)
            throw std::system_error(errno, std::generic_category(), "fork");
        if (id == 0) {
            const auto result = compute(i, steps);
            ::_exit(::write(ends[1], &result, sizeof result) == sizeof result ? 0 : 1);
        }
        ::close(ends[1]);
        children.emplace_back(id, ends[0]);
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
        const auto [id, from] = children[i];
        if (::read(from, &results[i], sizeof results[i]) != sizeof results[i])
            results[i] = 0;
        ::close(from);
        ::waitpid(id, nullptr, 0);
    }
    return std::nullopt;
}

} // namespace

int main(int argc, char** argv)
try {
    std::size_t tasks = 8;
    std::uint64_t work = 40;
    CLI::App app{"What fibers do not speed up: computing.", "cpu_bound"};
    app.add_option("--work", work, "millions of steps in a task (default: 40)")->check(CLI::Range(1, 1'000'000));
    app.add_option("--tasks", tasks, "how many tasks (default: 8)")->check(CLI::Range(1, 1'000));
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }

    struct row {
        const char* name;
        method how;
    };
    const row rows[]{{"sequential", sequentially},
                     {"fibers", in_fibers},
                     {"threads", on_threads},
                     {"fibers, coir::offload", with_offload},
                     {"processes", in_processes}};

    fmt::print("{} tasks of {} million steps each; this machine runs {} at once\n\n", tasks, work,
               std::thread::hardware_concurrency());
    fmt::print("{:<22} {:>9} {:>9}   {}\n", "", "wall time", "speed-up", "another fiber waited");
    numbers expected;
    double sequential_s = 0;
    for (const auto& [name, how] : rows) {
        numbers results(tasks);
        const auto begin = steady_clock::now();
        const auto kept_waiting = how(results, work * 1'000'000);
        const auto wall_s = seconds(steady_clock::now() - begin).count();
        if (expected.empty()) {
            expected = results;
            sequential_s = wall_s;
        }
        fmt::print("{:<22} {:>7.3f} s {:>8.2f}x   {}\n", name, wall_s, sequential_s / wall_s,
                   kept_waiting ? fmt::format("{:.1f} ms", kept_waiting->count() * 1000) : "-");
        std::fflush(stdout);
        if (results != expected) {
            fmt::print(stderr, "cpu_bound: {} computed something else\n", name);
            return 1;
        }
    }
    fmt::print(
        "\nFibers share one thread, so they overlap waiting, never computing, and one that computes keeps the others\n"
        "waiting. What computes belongs on other cores: coir::offload hands it to helper threads and lets the other\n"
        "fibers run on; processes do the same for code that cannot share memory.\n");
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "cpu_bound: {}\n", error.what());
    return 1;
}
