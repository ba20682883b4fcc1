// SPDX-License-Identifier: BSL-1.0
// load-idle PORT PID CONNECTIONS MILLISECONDS
//
// Opens that many connections, or as many as the descriptor limits allow, gets one echo over each, and leaves them
// open: what the server's memory is then. The kernel's, for the sockets, is not in it.
#include "connecting.hpp"

#include <vector>

int main(int argc, char** argv)
{
    const auto port = bench::argument(argc, argv, 1, 0);
    const auto server = static_cast<pid_t>(bench::argument(argc, argv, 2, 0));
    bench::raise_descriptor_limit();
    const auto connections = bench::possible_connections(server, bench::argument(argc, argv, 3, 10'000));
    constexpr bench::number at_once = 100;
    std::vector<int> open;
    open.reserve(static_cast<std::size_t>(connections));
    const std::string status = "/proc/" + std::to_string(server) + "/status";
    auto open_more = [&](bench::number count) {
        const auto begin = open.size();
        const std::string message(bench::message_size, 'x');
        for (bench::number i = 0; i < count; ++i) {
            open.push_back(bench::connect_to(port, static_cast<bench::number>(open.size())));
            bench::must(::send(open.back(), message.data(), message.size(), 0) > 0, "send");
        }
        for (auto i = begin; i < open.size(); ++i) {
            std::string answer(bench::message_size, ' ');
            bench::must(::recv(open[i], answer.data(), answer.size(), MSG_WAITALL) == ssize_t{bench::message_size} &&
                            answer == message,
                        "echo");
        }
    };
    open_more(1);
    const auto rss = bench::status_bytes("VmRSS", status);
    const auto tables = bench::status_bytes("VmPTE", status);
    bench::server_stopwatch watch{server};
    for (auto left = connections - 1; left > 0; left -= at_once)
        open_more(std::min(left, at_once));
    watch.stop();
    watch.print_totals(connections - 1, {{"connections", connections},
                                         {"rss", bench::status_bytes("VmRSS", status) - rss},
                                         {"page_tables", bench::status_bytes("VmPTE", status) - tables}});
}
