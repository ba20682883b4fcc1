// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "work_queue.hpp"

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

struct fetched_page {
    page result;
    std::vector<std::string> links; ///< on the same host
};

/// A curl handle, for one page after another: ordinary blocking libcurl.
class fetcher {
public:
    fetcher(std::string worker, std::chrono::milliseconds timeout);
    fetcher(const fetcher&) = delete; // curl knows where `message_` is
    fetcher& operator=(const fetcher&) = delete;

    /// Suspends. What goes wrong is in the result.
    fetched_page fetch(const work_item& item);

private:
    struct cleanup {
        void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
    };
    std::string worker_;
    std::array<char, CURL_ERROR_SIZE> message_{};
    std::unique_ptr<CURL, cleanup> handle_;
};
