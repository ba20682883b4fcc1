// SPDX-License-Identifier: BSL-1.0
#pragma once
// Where a randomised test gets its random numbers from, so that a failure can be repeated:
//
//     std::mt19937_64 random{support::seed()};
//
// The seed is printed; COIR_TEST_SEED in the environment sets it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>

namespace support {

/// What the test case that runs now has been given; the watchdog prints it.
inline std::optional<std::uint64_t> seed_in_use;

inline std::uint64_t seed()
{
    const char* text = std::getenv("COIR_TEST_SEED");
    seed_in_use = text ? std::strtoull(text, nullptr, 0) : std::random_device{}();
    std::printf("COIR_TEST_SEED=%llu\n", static_cast<unsigned long long>(*seed_in_use));
    std::fflush(stdout);
    return *seed_in_use;
}

} // namespace support
