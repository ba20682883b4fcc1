// SPDX-License-Identifier: BSL-1.0
#pragma once
// The HTTP server of the experiment: ordinary blocking calls, in a fiber for each connection.
#include <chrono>

/// How long it takes to answer.
inline constexpr std::chrono::milliseconds answer_time{50};

/// Answers on the listening socket until whoever holds the other end of `lifeline` has gone.
void serve(int listener, int lifeline);
