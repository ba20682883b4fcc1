// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <chrono>
#include <cstddef>
#include <string_view>

/// A line on the standard error that shows how far a run is. Nothing at all where that is not a terminal.
class progress_bar {
public:
    progress_bar();
    ~progress_bar() { clear(); }

    void show(std::string_view label, std::size_t done, std::size_t total, std::size_t failed,
              std::chrono::duration<double> elapsed);
    /// Makes room for other output.
    void clear();

private:
    bool enabled_;
    bool shown_ = false;
};
