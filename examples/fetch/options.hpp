// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// How the workers are started; what a worker does is the same in each.
enum class mode { sequential, threads, fibers };

std::string_view name_of(mode how);

struct options {
    std::vector<mode> modes;
    std::size_t concurrency = 1000;
    std::chrono::milliseconds timeout{30'000}; ///< for one URL, redirects included
    std::filesystem::path out;                 ///< where bodies go; empty: nowhere
    std::filesystem::path plot;
    std::vector<std::string> urls; ///< empty: the experiment

    // The experiment.
    std::size_t requests = 1000;
    std::size_t sample = 40; ///< of these, how many are enough for `sequential` where all modes run

    // Set where fetch runs itself: see process.hpp.
    bool serve = false;
    std::optional<mode> measure;
};

/// What the command line says. Ends the program after --help, and with status 2 and a message if it makes no sense.
options parse_options(int argc, char** argv);
