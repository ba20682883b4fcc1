// SPDX-License-Identifier: BSL-1.0
#pragma once
// Randomised native-diff tests: the same random calls on a thread and in a fiber.
//
//     TEST_CASE("...") {
//         native_diff_at_random(100, [](stage& on, generator& random) { ... });
//     }
//
// A failure tells the seed. COIR_TEST_SEED=<seed + round> makes the round that failed the first one.
#include "native_diff.hpp"

#include <seed.hpp>

#include <doctest/doctest.h>
#include <sys/uio.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

using generator = std::mt19937_64;

inline int below(generator& random, int end)
{
    return static_cast<int>(random() % static_cast<unsigned>(end));
}

inline bool one_in(generator& random, int count)
{
    return below(random, count) == 0;
}

template <class Element> const Element& one_of(generator& random, const std::vector<Element>& all)
{
    return all[random() % all.size()];
}

/// A subset, one in `part` of each.
inline int some_of(generator& random, std::initializer_list<int> bits, int part)
{
    int result = 0;
    for (const int each : bits)
        if (one_in(random, part))
            result |= each;
    return result;
}

template <class Body> void native_diff_at_random(std::uint64_t rounds, Body&& body)
{
    const auto seed = support::seed();
    for (std::uint64_t round = 0; round < rounds; ++round) {
        CAPTURE(seed);
        CAPTURE(round);
        native_diff([&](stage& on) {
            generator random{seed + round};
            body(on, random);
        });
    }
}

/// A block of bytes in up to six buffers of random sizes, none of them beside another, some of them empty.
class scattered {
public:
    scattered(generator& random, std::size_t size_max)
    {
        for (int count = one_in(random, 20) ? 0 : 1 + below(random, 6); count > 0; --count) {
            const auto most = std::max<std::size_t>(size_max / static_cast<std::size_t>(count), 1);
            pieces_.emplace_back(one_in(random, 6) ? 0 : 1 + random() % most, '\0');
        }
        for (auto& piece : pieces_)
            parts_.push_back({piece.empty() ? nullptr : piece.data(), piece.size()});
    }
    scattered(const scattered&) = delete;
    scattered& operator=(const scattered&) = delete;

    void fill_at_random(generator& random)
    {
        for (auto& piece : pieces_)
            for (auto& each : piece)
                each = static_cast<char>(random());
    }

    iovec* parts() noexcept { return parts_.data(); }
    int count() const noexcept { return static_cast<int>(parts_.size()); }
    /// All of it, in order.
    std::string bytes() const
    {
        std::string result;
        for (const auto& piece : pieces_)
            result += piece;
        return result;
    }

private:
    std::vector<std::string> pieces_;
    std::vector<iovec> parts_;
};

/// What has arrived.
inline void note_bytes(stage& on, long size, const std::string& bytes)
{
    if (size > 0)
        on.note(" ", std::hash<std::string>{}(bytes.substr(0, static_cast<std::size_t>(size))));
}
