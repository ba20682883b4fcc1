// SPDX-License-Identifier: BSL-1.0
#pragma once
// The parked workload: fibers that have touched 1 KiB of stack and wait. What each costs in memory, how long they take
// to create and to wake, and whether a guard page lies below their stacks.
#include "bench.hpp"

#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <vector>

namespace bench {

class parked_report {
public:
    explicit parked_report(number fibers) : fibers_{fibers}, mappings_{-mappings()}, tables_{-status_bytes("VmPTE")}
    {
        samples_.reserve(1024);
        rss_ = -status_bytes("VmRSS");
        watch_.restart();
    }

    /// Each fiber calls it.
    [[gnu::noinline]] void touch_stack(number index)
    {
        char kilobyte[1024];
        std::memset(kilobyte, static_cast<int>(index), sizeof kilobyte);
        asm volatile("" : : "r"(kilobyte) : "memory");
        if (index % (fibers_ / 1000 + 1) == 0)
            samples_.push_back(reinterpret_cast<std::uintptr_t>(kilobyte));
    }

    /// All of them wait, on stacks of this size.
    void parked(std::size_t stack_size)
    {
        watch_.stop();
        rss_ += status_bytes("VmRSS");
        tables_ += status_bytes("VmPTE");
        mappings_ += mappings();
        guarded_ = guarded_percent(stack_size);
        wake_.restart();
    }

    /// All have ended.
    void woken(bool checked = true)
    {
        wake_.stop();
        watch_.print_totals(fibers_, {{"checked", checked},
                                      {"create_ns", watch_.wall_ns()},
                                      {"wake_ns", wake_.wall_ns()},
                                      {"rss", rss_},
                                      {"page_tables", tables_},
                                      {"mappings", mappings_},
                                      {"guarded_percent", guarded_}});
    }

private:
    /// How many of the sampled stacks end in a page that cannot be touched.
    number guarded_percent(std::size_t stack_size) const;

    number fibers_;
    number mappings_;
    number tables_;
    number rss_ = 0;
    number guarded_ = 0;
    stopwatch watch_;
    stopwatch wake_;
    std::vector<std::uintptr_t> samples_;
};

inline number parked_report::guarded_percent(std::size_t stack_size) const
{
    int ends[2];
    if (samples_.empty() || ::pipe2(ends, O_NONBLOCK) != 0)
        return 0;
    // The kernel is asked to read a byte of each page, down to where the stack ends: EFAULT is a guard.
    constexpr std::uintptr_t page = 4096;
    number guarded = 0;
    for (const auto stack : samples_)
        for (auto address = stack; address > stack - stack_size; address -= page) {
            if (::write(ends[1], reinterpret_cast<const void*>(address), 1) != 1) {
                ++guarded;
                break;
            }
            char byte;
            static_cast<void>(!::read(ends[0], &byte, 1));
        }
    ::close(ends[0]);
    ::close(ends[1]);
    return guarded * 100 / static_cast<number>(samples_.size());
}

} // namespace bench
