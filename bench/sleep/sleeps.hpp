// SPDX-License-Identifier: BSL-1.0
#pragma once
// The sleep workload: fibers that sleep for 1 to 100 ms again and again, and how late they wake.
#include "bench.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

namespace bench {

class sleeps {
public:
    explicit sleeps(number milliseconds) : length_{milliseconds * 1'000'000} { late_.reserve(10'000'000); }

    /// Each fiber calls it, with a way of sleeping.
    template <class Sleep> void run(number index, Sleep sleep)
    {
        auto random = static_cast<std::uint32_t>(index) * 2654435761U + 1;
        for (auto now = begin(); now < end_;) {
            const auto length = next(random);
            sleep(std::chrono::nanoseconds{length});
            const auto woken = time_of(CLOCK_MONOTONIC);
            record(woken - now - length, woken);
            now = woken;
        }
    }
    /// The parts of `run`, for who cannot call it.
    number begin()
    {
        const auto now = time_of(CLOCK_MONOTONIC);
        if (end_ == 0)
            end_ = (begin_ = now + warm_up) + length_;
        return now;
    }
    number end() const { return end_; }
    static number next(std::uint32_t& random)
    {
        random = random * 1664525U + 1013904223U;
        return 1'000'000 + random % 99'000'000U;
    }
    /// Of a fiber that woke at `now`. Only from `begin_` on, when all fibers have slept once, to `end_`, when the first
    /// of them ends: neither their first run, which finds no memory yet, nor their end is a wake-up.
    void record(number late, number now)
    {
        if (now < begin_ || stopped_)
            return;
        if (late_.empty())
            watch_.restart();
        late_.push_back(static_cast<std::uint32_t>(std::clamp(late, number{0}, longest)));
        if (now >= end_) {
            watch_.stop();
            stopped_ = true;
        }
    }

    void report()
    {
        if (!stopped_)
            watch_.stop();
        std::sort(late_.begin(), late_.end());
        auto percentile = [&](std::size_t percent) {
            return late_.empty() ? 0 : number{late_[(late_.size() - 1) * percent / 100]};
        };
        watch_.print_totals(static_cast<number>(late_.size()),
                            {{"late_p50_ns", percentile(50)}, {"late_p99_ns", percentile(99)}});
    }

private:
    static constexpr number longest = 4'000'000'000;
    static constexpr number warm_up = 500'000'000; // longer than the longest sleep

    number length_;
    number begin_ = 0;
    number end_ = 0;
    bool stopped_ = false;
    std::vector<std::uint32_t> late_;
    stopwatch watch_;
};

} // namespace bench
