// SPDX-License-Identifier: BSL-1.0
#pragma once
// What surrounds curl_easy_perform: a handle with its options, and a place for what arrives.
#include "jobs.hpp"
#include "options.hpp"

#include <curl/curl.h>

#include <array>
#include <filesystem>
#include <memory>
#include <string>

/// A curl handle, for one URL after another.
class transfer {
public:
    explicit transfer(const options& opts);
    transfer(const transfer&) = delete; // curl knows where `message_` is
    transfer& operator=(const transfer&) = delete;

    CURL* handle() const noexcept { return handle_.get(); }
    /// What went wrong, in words; empty if nothing did.
    std::string error(CURLcode code) const;

private:
    struct cleanup {
        void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
    };
    std::array<char, CURL_ERROR_SIZE> message_{};
    std::unique_ptr<CURL, cleanup> handle_;
};

/// Counts what arrives for one URL, and writes it to a file where there is a directory for it.
///
/// The file gets its name when it is complete; what belongs to a failed transfer is removed.
class body {
public:
    body(const job& from, const std::filesystem::path& directory);
    body(const body&) = delete;
    body& operator=(const body&) = delete;
    ~body();

    std::size_t size() const noexcept { return size_; }
    /// Ends it. Returns the first thing that went wrong, here or in the transfer; empty if nothing did.
    std::string finish(std::string transfer_error);

    /// CURLOPT_WRITEFUNCTION.
    static std::size_t receive(const char* data, std::size_t, std::size_t size, void* self) noexcept;

private:
    bool write(const char* data, std::size_t size) noexcept;
    void fail(const char* what) noexcept;

    std::size_t size_ = 0;
    std::filesystem::path path_;    ///< empty if nothing is to be written
    std::filesystem::path partial_; ///< its name until it is complete
    int file_ = -1;
    const char* failed_call_ = nullptr;
    int failed_errno_ = 0;
};
