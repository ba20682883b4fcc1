// SPDX-License-Identifier: BSL-1.0
#include "run.hpp"
#include "process.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>

using std::chrono::steady_clock;
using namespace std::chrono_literals;

std::size_t run::bytes() const
{
    return std::transform_reduce(outcomes.begin(), outcomes.end(), std::size_t{0}, std::plus{},
                                 [](const outcome& each) { return each.bytes; });
}

std::size_t run::failures() const
{
    return static_cast<std::size_t>(
        std::ranges::count_if(outcomes, [](const auto& each) { return !each.error.empty(); }));
}

namespace {

/// What the child reports, put together.
class results {
public:
    results(run& into, const options& opts, std::span<const std::string> urls, progress_bar& bar)
        : run_{into}, opts_{opts}, urls_{urls}, bar_{bar}
    {
    }

    void add(std::string_view data)
    {
        buffer_ += data;
        for (std::size_t end; (end = buffer_.find('\n')) != std::string::npos; buffer_.erase(0, end + 1))
            add_line(buffer_.substr(0, end));
    }

    void fail(std::size_t number, const std::string& reason)
    {
        auto& one = run_.outcomes[number];
        one.known = true;
        one.error = reason;
        ++failed_;
        bar_.clear();
        const auto where = opts_.modes.size() > 1 ? fmt::format(" ({})", name_of(run_.how)) : "";
        fmt::print(stderr, "fetch: {}: {}{}\n", printable(urls_[number]), reason, where);
    }

    std::size_t done() const { return done_; }
    std::size_t failed() const { return failed_; }

private:
    void add_line(const std::string& line)
    {
        std::istringstream in{line};
        std::size_t number = 0;
        if (line.starts_with("usage ")) {
            auto& cost = run_.cost;
            std::string word;
            in >> word >> cost.wall_s >> cost.cpu_s >> cost.context_switches >> cost.peak_memory_kib >>
                cost.address_space_kib >> cost.threads;
        } else if (in >> number && number < run_.outcomes.size()) {
            auto& one = run_.outcomes[number];
            in >> one.bytes;
            in.get();
            std::string error;
            std::getline(in, error);
            one.known = true;
            ++done_;
            if (!error.empty())
                fail(number, error);
        }
    }

    run& run_;
    const options& opts_;
    std::span<const std::string> urls_;
    progress_bar& bar_;
    std::string buffer_;
    std::size_t done_ = 0;
    std::size_t failed_ = 0;
};

unique_fd as_file(std::span<const std::string> urls)
{
    unique_fd file{checked(::memfd_create("urls", MFD_CLOEXEC), "memfd_create")};
    std::string text;
    for (const auto& url : urls)
        text += url + '\0';
    write_all(file.get(), text);
    checked(static_cast<int>(::lseek(file.get(), 0, SEEK_SET)), "lseek");
    return file;
}

std::pair<unique_fd, unique_fd> make_pipe()
{
    int ends[2];
    checked(::pipe2(ends, O_CLOEXEC), "pipe2");
    return {unique_fd{ends[0]}, unique_fd{ends[1]}};
}

} // namespace

run run_mode(mode how, const options& opts, std::span<const std::string> urls, progress_bar& bar)
{
    run result;
    result.how = how;
    result.outcomes.resize(urls.size());
    result.whole = urls.size();
    results reports{result, opts, urls, bar};

    std::vector<std::string> arguments{fmt::format("--measure={}", name_of(how)),
                                       fmt::format("--concurrency={}", opts.concurrency),
                                       fmt::format("--timeout={}ms", opts.timeout.count())};
    if (!opts.out.empty())
        arguments.push_back("--out=" + opts.out.string());
    auto [reading, writing] = make_pipe();
    process child{arguments, as_file(urls), writing};
    writing.reset();

    // Every URL ends within the time-out; should the child not know that, it is ended instead.
    const auto patience = opts.timeout + 30s;
    const auto begin = steady_clock::now();
    auto heard = begin;
    std::size_t threads = 0;
    std::string reason;
    for (;;) {
        pollfd ready{reading.get(), POLLIN, 0};
        ::poll(&ready, 1, 100);
        threads = std::max(threads, status_of(std::to_string(child.id()), "Threads"));
        const auto now = steady_clock::now();
        if (ready.revents != 0) {
            char data[65536];
            const auto size = ::read(reading.get(), data, sizeof data);
            if (size <= 0)
                break;
            reports.add({data, static_cast<std::size_t>(size)});
            heard = now;
        } else if (now - heard > patience) {
            reason = "no answer from the process that fetches";
            child.kill();
            break;
        }
        bar.show(name_of(how), reports.done(), urls.size(), reports.failed(), now - begin);
        std::this_thread::sleep_for(10ms); // do not compete with what is being measured
    }
    bar.clear();
    if (const auto ending = child.wait(); !ending.empty() && reason.empty())
        reason = fmt::format("the process that fetches ended early ({})", ending);
    for (std::size_t number = 0; number < urls.size(); ++number)
        if (!result.outcomes[number].known)
            reports.fail(number, reason.empty() ? "the process that fetches did not report it" : reason);
    result.cost.threads = std::max(result.cost.threads, threads);
    return result;
}

std::size_t affordable_workers(const options& opts, std::size_t wanted)
{
    // What libcurl opens for a transfer: a socket and a pair to be woken by; a pair for the thread that resolves a
    // name, and a socket to the name server. And our own file.
    const std::size_t each = 6 + (opts.out.empty() ? 0 : 1);
    constexpr std::size_t others = 32;
    rlimit limit{};
    checked(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    const auto affordable = limit.rlim_cur > others + each ? (limit.rlim_cur - others) / each : 1;
    if (affordable >= wanted)
        return wanted;
    fmt::print(stderr,
               "fetch: {} at once instead of {}: the limit of open files is {} (ulimit -Hn), and each takes up to {}\n",
               affordable, wanted, limit.rlim_cur, each);
    return affordable;
}

void raise_descriptor_limit()
{
    rlimit limit{};
    checked(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit); // if it does not want to: then there is affordable_workers
}
