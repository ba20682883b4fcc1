// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "run.hpp"

#include <filesystem>
#include <span>
#include <string>

/// A line for each run, with what it cost.
void print_table(std::span<const run> runs);

/// Whether each URL gave as many bytes in every run that fetched it; says on the standard error where not.
bool same_bytes(std::span<const run> runs, std::span<const std::string> urls);

/// The table as bars. Throws std::system_error when the file cannot be written.
void draw_plot(const std::filesystem::path& file, std::span<const run> runs, const std::string& title);

/// "51 s", "0.123 s"; "46.2 MiB".
std::string seconds_text(double seconds);
std::string memory_text(std::size_t kib);
