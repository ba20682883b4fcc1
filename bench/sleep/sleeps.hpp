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
            record(woken - now - length);
            now = woken;
        }
    }
    /// The parts of `run`, for who cannot call it. The clock runs from the first call on, when all fibers are there.
    number begin()
    {
        const auto now = time_of(CLOCK_MONOTONIC);
        if (end_ == 0) {
            end_ = now + length_;
            watch_.restart();
        }
        return now;
    }
    number end() const { return end_; }
    static number next(std::uint32_t& random)
    {
        random = random * 1664525U + 1013904223U;
        return 1'000'000 + random % 99'000'000U;
    }
    void record(number late) { late_.push_back(static_cast<std::uint32_t>(std::clamp(late, number{0}, longest))); }

    void report()
    {
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

    number length_;
    number end_ = 0;
    std::vector<std::uint32_t> late_;
    stopwatch watch_;
};

} // namespace bench
