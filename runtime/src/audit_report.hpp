// SPDX-License-Identifier: BSL-1.0
#pragma once
// What the audit has found, and how it is told: a line when it happens, and at the end all of them together.
#include "blocked_call.hpp"

#include <coir/fiber.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

namespace coir {

/// To standard error, past libc.
void print(std::string_view line) noexcept;

/// "2 ms", "0.062 ms"
std::string milliseconds_text(std::chrono::nanoseconds time);

/// Where in the program it happens.
using call_site = std::tuple<long, std::uintptr_t, std::uintptr_t>;

/// Something that has blocked a hub.
struct finding {
    call_site site;
    std::string who;
    std::string call;
    std::string descriptors;
    std::string place;

    /// `fiber` 0 is the loop.
    static finding of(const blocked_call& call, const call_descriptors& descriptors, const stack_words& stack,
                      fiber_id fiber, std::string_view fiber_name);
};

class audit_report {
public:
    /// Waits of at least `limit` are found; 0: all.
    explicit audit_report(std::chrono::nanoseconds limit) noexcept : limit_{limit} {}

    /// A line, but no more than one a second for a place.
    void tell(const finding& found, std::size_t hub, std::chrono::nanoseconds time, bool goes_on);
    /// For the summary.
    void count(const finding& found, std::chrono::nanoseconds time);
    void count_lost(std::size_t times) noexcept { lost_ += times; }
    void clear() noexcept;

    std::string summary() const;

private:
    using time_point = std::chrono::steady_clock::time_point;
    struct site_record {
        std::string place;
        std::size_t times = 0;
        std::size_t unsaid = 0;
        std::chrono::nanoseconds total{};
        std::chrono::nanoseconds longest{};
        time_point quiet_until;
    };

    std::string limit_text() const;

    const std::chrono::nanoseconds limit_;
    std::map<call_site, site_record> sites_;
    std::size_t lost_ = 0;
};

} // namespace coir
