// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

/// redis://HOST[:PORT][/DATABASE]
struct redis_address {
    std::string host;
    int port = 6379;
    int database = 0;
};

struct options {
    std::optional<redis_address> redis; ///< nothing: the queue is in this process
    std::vector<std::string> seeds;
    std::size_t workers = 8;
    unsigned depth = 3;
    std::chrono::milliseconds timeout{10'000}; ///< for one page
    bool idle_exit = false;
    bool json = false;

    // For Redis.
    std::string crawl = "fleet"; ///< the beginning of all keys
    std::string group = "fleet";
    std::string worker; ///< the name of this process; unique in the group
    std::chrono::milliseconds claim_after{30'000};
    std::chrono::milliseconds patience{30'000}; ///< with a Redis that is gone
    unsigned deliveries = 5;                    ///< of one item, before it is given up
};

/// What the command line says. Ends the program after --help, and with status 2 and a message if it makes no sense.
options parse_options(int argc, char** argv);
