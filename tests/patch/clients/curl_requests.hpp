// SPDX-License-Identifier: BSL-1.0
#pragma once
// libcurl's easy interface as anybody uses it: nothing here knows of fibers.
#include <curl/curl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>

namespace clients {

struct easy_delete {
    void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
};
using easy_handle = std::unique_ptr<CURL, easy_delete>;

/// What one transfer came to, as far as it is the same each time.
struct response {
    CURLcode code = CURLE_OK;
    long status = 0;
    long redirects = 0;
    std::string body;
    bool nonblocking = false; ///< whether libcurl's socket had O_NONBLOCK
    std::string error;        ///< libcurl's words

    friend bool operator==(const response&, const response&) = default;
    friend std::ostream& operator<<(std::ostream& out, const response& it)
    {
        return out << "{" << it.code << " " << curl_easy_strerror(it.code) << ": " << it.error << ", status "
                   << it.status << ", " << it.redirects << " redirects, " << it.body.size() << " bytes, O_NONBLOCK "
                   << it.nonblocking << "}";
    }
};

inline std::size_t append(char* data, std::size_t, std::size_t size, void* to)
{
    static_cast<std::string*>(to)->append(data, size);
    return size;
}

inline easy_handle make_handle(const std::string& url)
{
    easy_handle handle{curl_easy_init()};
    curl_easy_setopt(handle.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle.get(), CURLOPT_PROXY, "");
    curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, append);
    return handle;
}

/// `at_end` is called with the descriptor of the connection before it is closed.
inline response perform(CURL* handle, const std::function<bool(int)>& at_end = {})
{
    response result;
    char words[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &result.body);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, words);
    result.code = curl_easy_perform(handle);
    result.error = words;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &result.status);
    curl_easy_getinfo(handle, CURLINFO_REDIRECT_COUNT, &result.redirects);
    curl_socket_t socket = CURL_SOCKET_BAD;
    if (at_end && curl_easy_getinfo(handle, CURLINFO_ACTIVESOCKET, &socket) == CURLE_OK && socket != CURL_SOCKET_BAD)
        result.nonblocking = at_end(static_cast<int>(socket));
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, nullptr);
    return result;
}

inline response get(const std::string& url, const std::string& authority = {},
                    const std::function<bool(int)>& at_end = {})
{
    const auto handle = make_handle(url);
    if (!authority.empty())
        curl_easy_setopt(handle.get(), CURLOPT_CAINFO, authority.c_str());
    return perform(handle.get(), at_end);
}

} // namespace clients
