// SPDX-License-Identifier: BSL-1.0
#include "url.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <new>
#include <set>

namespace {

struct cleanup {
    void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
    void operator()(char* text) const noexcept { curl_free(text); }
};
using url_handle = std::unique_ptr<CURLU, cleanup>;

url_handle parse(const std::string& text, const std::string& base)
{
    url_handle url{curl_url()};
    if (!url)
        throw std::bad_alloc{};
    if (!base.empty() && curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK)
        return nullptr;
    if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK)
        return nullptr;
    return url;
}

std::string part_of(const url_handle& url, CURLUPart part, unsigned flags = 0)
{
    char* text = nullptr;
    if (!url || curl_url_get(url.get(), part, &text, flags) != CURLUE_OK)
        return {};
    const std::unique_ptr<char, cleanup> owner{text};
    return text;
}

/// From `at` on, in any case.
bool begins_with(std::string_view text, std::size_t at, std::string_view lower_case)
{
    return text.size() - at >= lower_case.size() &&
           std::equal(lower_case.begin(), lower_case.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                      [](char lower, char any) { return lower == std::tolower(static_cast<unsigned char>(any)); });
}

/// The value of an attribute that begins at `at`, and `at` behind it.
std::string_view value_at(std::string_view html, std::size_t& at)
{
    constexpr std::string_view blanks = " \t\r\n";
    at = std::min(html.find_first_not_of(blanks, at), html.size());
    if (at == html.size())
        return {};
    const bool quoted = html[at] == '"' || html[at] == '\'';
    const auto end = quoted ? html.find(html[at], at + 1) : html.find_first_of(" \t\r\n>", at);
    const auto begin = at + quoted;
    at = std::min(end, html.size());
    return html.substr(begin, at - begin);
}

std::string without_entities(std::string_view value)
{
    std::string result{value};
    for (std::size_t at = 0; (at = result.find("&amp;", at)) != std::string::npos; ++at)
        result.erase(at + 1, 4);
    return result;
}

} // namespace

std::optional<std::string> normal_url(const std::string& text, const std::string& base)
{
    const auto url = parse(text, base);
    const auto scheme = part_of(url, CURLUPART_SCHEME);
    if ((scheme != "http" && scheme != "https") || part_of(url, CURLUPART_HOST).empty())
        return std::nullopt;
    curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
    return part_of(url, CURLUPART_URL, CURLU_NO_DEFAULT_PORT);
}

std::string origin_of(const std::string& url)
{
    const auto parsed = parse(url, {});
    return part_of(parsed, CURLUPART_SCHEME) + "://" + part_of(parsed, CURLUPART_HOST) + ":" +
           part_of(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

std::vector<std::string> links_in(std::string_view html, const std::string& page_url)
{
    const auto origin = origin_of(page_url);
    std::set<std::string> links;
    for (std::size_t at = 0; at < html.size(); ++at) {
        if (!begins_with(html, at, "href="))
            continue;
        at += 5;
        const auto url = normal_url(without_entities(value_at(html, at)), page_url);
        if (url && origin_of(*url) == origin)
            links.insert(*url);
    }
    return {links.begin(), links.end()};
}
