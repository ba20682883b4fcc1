// SPDX-License-Identifier: BSL-1.0
#include "audit_report.hpp"

#include "raw_syscall.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace coir {

namespace {

using namespace std::chrono_literals;

constexpr auto quiet_time = 1s; ///< between two lines about one place

} // namespace

void print(std::string_view line) noexcept
{
    raw_syscall(SYS_write, STDERR_FILENO, reinterpret_cast<long>(line.data()), static_cast<long>(line.size()));
}

std::string milliseconds_text(std::chrono::nanoseconds time)
{
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
    auto text = std::to_string(micros / 1000);
    if (micros < 10'000 && micros % 1000) {
        text += '.' + std::to_string(1000 + micros % 1000).substr(1);
        text.erase(text.find_last_not_of('0') + 1);
    }
    return text + " ms";
}

finding finding::of(const blocked_call& call, const call_descriptors& descriptors, const stack_words& stack,
                    fiber_id fiber, std::string_view fiber_name)
{
    const auto [entry, callers] = call.find_path(stack);
    finding result;
    result.site = {call.number, call.code, callers.empty() ? 0 : callers.front()};
    result.place = " in " + describe_code(entry);
    const char* separator = ", called from ";
    for (const auto caller : callers) {
        result.place += separator + describe_code(caller);
        separator = ", ";
    }
    result.call = call.name();
    result.descriptors = descriptors.text();
    result.who = "the loop";
    if (fiber != fiber_id{}) {
        result.who = "fiber " + std::to_string(fiber.value);
        if (!fiber_name.empty())
            result.who.append(" (").append(fiber_name).append(")");
    }
    return result;
}

void audit_report::tell(const finding& found, std::size_t hub, std::chrono::nanoseconds time, bool goes_on)
{
    auto& site = sites_[found.site];
    const auto now = std::chrono::steady_clock::now();
    if (now < site.quiet_until) {
        ++site.unsaid;
        return;
    }
    site.quiet_until = now + quiet_time;
    auto line = "coir: audit: " + found.who + " has blocked hub " + std::to_string(hub) + " for " +
                milliseconds_text(time) + (goes_on ? " and still does: " : ": ") + found.call + found.descriptors +
                found.place;
    if (const auto unsaid = std::exchange(site.unsaid, 0))
        line += "; and " + std::to_string(unsaid) + " times before";
    print(line + '\n');
}

void audit_report::count(const finding& found, std::chrono::nanoseconds time)
{
    auto& site = sites_[found.site];
    if (site.place.empty())
        site.place = found.call + found.place;
    ++site.times;
    site.total += time;
    site.longest = std::max(site.longest, time);
}

void audit_report::clear() noexcept
{
    sites_.clear();
    lost_ = 0;
}

std::string audit_report::limit_text() const
{
    return limit_ > 0ns ? " for " + milliseconds_text(limit_) + " or longer" : "";
}

std::string audit_report::summary() const
{
    std::vector<const site_record*> sites;
    for (const auto& [key, site] : sites_)
        if (site.times)
            sites.push_back(&site);
    if (sites.empty())
        return "coir: audit: nothing has blocked a hub" + limit_text() + '\n';
    std::ranges::sort(sites, std::greater{}, &site_record::total);

    std::size_t times = 0;
    std::chrono::nanoseconds total{};
    for (const auto* site : sites) {
        times += site->times;
        total += site->total;
    }
    auto text = "coir: audit: hubs were blocked" + limit_text() + ' ' + std::to_string(times) + " times, " +
                milliseconds_text(total) + " in all\n";
    for (const auto* site : sites)
        text += "coir: audit:   " + std::to_string(site->times) + " times, " + milliseconds_text(site->total) +
                ", at most " + milliseconds_text(site->longest) + ": " + site->place + '\n';
    if (lost_)
        text += "coir: audit:   and " + std::to_string(lost_) + " times that came too fast to be recorded\n";
    return text;
}

} // namespace coir
