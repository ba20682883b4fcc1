// SPDX-License-Identifier: BSL-1.0
#pragma once
// Certificates made by the tests, as PEM text. Keys are of NIST P-256: made in no time.
#include <chrono>
#include <string>
#include <vector>

namespace certificates {

struct identity {
    std::string certificate; ///< its own first, then those that sign it, without the root
    std::string key;
};

struct contents {
    std::string common_name{};
    std::vector<std::string> names{};                     ///< "DNS:example.org", "IP:127.0.0.1"
    std::chrono::seconds begins = std::chrono::hours{-1}; ///< from now
    std::chrono::seconds ends = std::chrono::hours{24};
    bool signs = false; ///< whether it is an authority
};

/// Signed by `signer`, or by itself.
identity make(const contents& what, const identity* signer = nullptr);

/// An authority that clients trust, and what it has signed.
struct family {
    identity authority = make({.common_name = "Test Root", .signs = true});
    identity server = make({.common_name = "localhost", .names = {"DNS:localhost", "IP:127.0.0.1"}}, &authority);
    identity client = make({.common_name = "some client"}, &authority);
};
const family& good();

} // namespace certificates
