// SPDX-License-Identifier: BSL-1.0
//
// fetch: URLs with ordinary blocking libcurl, one after the other, on threads, or in fibers on one thread. Start
// reading at workers.cpp: a worker is ten lines, the same in all modes. The rest is what a useful program has around
// them: options, a server to try it with, processes so that each mode is measured alone, a table and a plot.
#include "options.hpp"
#include "process.hpp"
#include "report.hpp"
#include "run.hpp"
#include "server.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <system_error>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace {

/// The server of the experiment, in a process of its own, while this lives.
class local_server {
public:
    local_server()
    {
        const unique_fd listener{checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")};
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        checked(::bind(listener.get(), generic, size), "bind");
        checked(::listen(listener.get(), SOMAXCONN), "listen");
        checked(::getsockname(listener.get(), generic, &size), "getsockname");
        port_ = ntohs(address.sin_port);

        int ends[2];
        checked(::pipe2(ends, O_CLOEXEC), "pipe2");
        lifeline_ = unique_fd{ends[1]};
        process_.emplace(std::vector<std::string>{"--serve"}, listener, unique_fd{ends[0]});
    }
    ~local_server() { lifeline_.reset(); }

    std::string url(std::size_t page) const { return fmt::format("http://127.0.0.1:{}/{}", port_, page); }

private:
    std::uint16_t port_ = 0;
    std::optional<process> process_; // waits for its end, so it outlives the lifeline
    unique_fd lifeline_;
};

void make_directory(const std::filesystem::path& directory)
{
    std::error_code failure;
    std::filesystem::create_directories(directory, failure);
    if (failure)
        throw std::system_error(failure, fmt::format("cannot create {}", directory.string()));
}

/// Runs every mode that was asked for, and reports. Returns the exit status.
int fetch(options opts)
{
    const bool experiment = opts.urls.empty();
    std::optional<local_server> server;
    if (experiment) {
        server.emplace();
        ::setenv("no_proxy", "127.0.0.1", 1);
        for (std::size_t page = 1; page <= opts.requests; ++page)
            opts.urls.push_back(server->url(page));
    }
    if (!opts.out.empty())
        make_directory(opts.out);
    opts.concurrency = affordable_workers(opts, std::min(opts.concurrency, opts.urls.size()));

    const auto title = experiment
                           ? fmt::format("{} requests to a local server that answers after {} ms, {} at once",
                                         grouped(opts.urls.size()), answer_time.count(), grouped(opts.concurrency))
                           : fmt::format("{} URLs, {} at once", grouped(opts.urls.size()), grouped(opts.concurrency));
    progress_bar bar;
    std::vector<run> runs;
    for (const auto how : opts.modes) {
        const bool sampled = experiment && how == mode::sequential && opts.modes.size() > 1;
        const auto count = std::min(opts.urls.size(), sampled ? opts.sample : opts.urls.size());
        runs.push_back(run_mode(how, opts, std::span{opts.urls}.first(count), bar));
        runs.back().whole = opts.urls.size();
    }

    fmt::print("{}\n\n", title);
    print_table(runs);
    bool good = std::ranges::all_of(runs, [](const run& each) { return each.failures() == 0; });
    if (runs.size() > 1) {
        const bool same = same_bytes(runs, opts.urls);
        if (same && good)
            fmt::print("Each URL gave the same number of bytes in every mode.\n");
        if (experiment) // elsewhere a page may have changed between two runs
            good = good && same;
    }
    if (!opts.plot.empty())
        draw_plot(opts.plot, runs, title);
    if (std::fflush(stdout) != 0)
        throw std::system_error(errno, std::generic_category(), "cannot write to the standard output");
    return good ? 0 : 1;
}

} // namespace

int main(int argc, char** argv)
try {
    const auto opts = parse_options(argc, argv);
    if (opts.measure)
        return measure(*opts.measure, opts);
    if (opts.serve) {
        serve(first_descriptor, second_descriptor);
        return 0;
    }
    raise_descriptor_limit();
    return fetch(opts);
} catch (const std::exception& error) {
    fmt::print(stderr, "fetch: {}\n", error.what());
    return 1;
}
