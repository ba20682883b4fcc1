// SPDX-License-Identifier: BSL-1.0
#include "fetcher.hpp"
#include "url.hpp"

#include <new>
#include <string_view>
#include <utility>

namespace {

constexpr std::size_t body_max = 16 << 20; ///< bytes; what is larger is no page

std::size_t receive(const char* data, std::size_t, std::size_t size, void* body) noexcept
try {
    auto& text = *static_cast<std::string*>(body);
    if (text.size() + size > body_max)
        return 0; // which curl takes for an error
    text.append(data, size);
    return size;
} catch (const std::bad_alloc&) {
    return 0;
}

std::string text_of(const char* text)
{
    return text ? text : "";
}

} // namespace

fetcher::fetcher(std::string worker, std::chrono::milliseconds timeout)
    : worker_{std::move(worker)}, handle_{curl_easy_init()}
{
    if (!handle_)
        throw std::bad_alloc{};
    const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(handle_.get(), option, value); };
    set(CURLOPT_WRITEFUNCTION, &receive);
    set(CURLOPT_ERRORBUFFER, message_.data());
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L); // where it leads is another page, which may have been seen
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_USERAGENT, ("coir-fleet/" + worker_).c_str()); // curl keeps a copy
}

fetched_page fetcher::fetch(const work_item& item)
{
    fetched_page page;
    page.result.url = item.url;
    page.result.depth = item.depth;
    page.result.worker = worker_;
    std::string body;
    message_.front() = '\0';
    curl_easy_setopt(handle_.get(), CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(handle_.get(), CURLOPT_URL, item.url.c_str());
    const CURLcode code = curl_easy_perform(handle_.get());
    curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &page.result.status);
    page.result.bytes = body.size();
    if (code != CURLE_OK) {
        page.result.error = message_.front() ? message_.data() : curl_easy_strerror(code);
        return page;
    }

    const char* type = nullptr;
    const char* moved_to = nullptr;
    curl_easy_getinfo(handle_.get(), CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(handle_.get(), CURLINFO_REDIRECT_URL, &moved_to);
    if (page.result.status >= 400)
        page.result.error = "HTTP status " + std::to_string(page.result.status);
    else if (const auto target = normal_url(text_of(moved_to)); target && origin_of(*target) == origin_of(item.url))
        page.links.push_back(*target);
    else if (text_of(type).starts_with("text/html"))
        page.links = links_in(body, item.url);
    return page;
}
