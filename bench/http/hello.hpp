// SPDX-License-Identifier: BSL-1.0
#pragma once
// What the HTTP servers answer that have no library for it.
#include "bench.hpp"

#include <string_view>

namespace bench {

inline constexpr std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\n"
                                           "hello, fiber\n";

inline bool is_a_get(std::string_view head)
{
    return head.starts_with("GET / HTTP/1.1\r\n");
}

} // namespace bench
