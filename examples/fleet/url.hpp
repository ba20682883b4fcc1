// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The URL as it is written when it is compared with others, without fragment; relative to `base` if there is one.
/// Nothing if it is not one of http or https.
std::optional<std::string> normal_url(const std::string& text, const std::string& base = {});

/// Scheme, host and port.
std::string origin_of(const std::string& url);

/// What a page of HTML links to (href), on its own host, each once.
std::vector<std::string> links_in(std::string_view html, const std::string& page_url);
