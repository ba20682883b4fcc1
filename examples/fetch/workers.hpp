// SPDX-License-Identifier: BSL-1.0
#pragma once
// The heart of the example: what a worker does, and the three ways to start workers.
#include "jobs.hpp"
#include "options.hpp"

/// Fetches URLs from the list until none is left: ordinary blocking libcurl, which knows nothing of fibers.
void fetch_urls(job_list& jobs, const options& opts);

/// Each calls `fetch_urls` in `workers` places at once, and returns when every URL has been dealt with. `sequential`
/// has one such place.
void run_sequential(job_list& jobs, const options& opts);
void run_threads(job_list& jobs, const options& opts, std::size_t workers);
void run_fibers(job_list& jobs, const options& opts, std::size_t workers);
