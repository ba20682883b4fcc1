// SPDX-License-Identifier: BSL-1.0
#pragma once
// A GET with libcurl's blocking interface: what the threads and the fibers run.
#include "bench.hpp"

#include <curl/curl.h>
#include <string>

namespace bench {

inline std::size_t count_bytes(char*, std::size_t size, std::size_t count, void* total)
{
    *static_cast<number*>(total) += static_cast<number>(size * count);
    return size * count;
}

inline CURL* prepare(const std::string& url, number& bytes)
{
    CURL* const handle = ::curl_easy_init();
    ::curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    ::curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    ::curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
    ::curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, count_bytes);
    ::curl_easy_setopt(handle, CURLOPT_WRITEDATA, &bytes);
    return handle;
}

/// Whether it has answered with all of its body.
inline bool get(const std::string& url)
{
    number bytes = 0;
    CURL* const handle = prepare(url, bytes);
    const auto result = ::curl_easy_perform(handle);
    ::curl_easy_cleanup(handle);
    return result == CURLE_OK && bytes == 13;
}

inline std::string url_of(number port)
{
    return "http://127.0.0.1:" + std::to_string(port) + "/";
}

inline void report(stopwatch& watch, number requests, number failures)
{
    watch.report(requests, {{"failures", failures}, {"peak_rss", peak_rss()}});
}

} // namespace bench
