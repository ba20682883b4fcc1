// SPDX-License-Identifier: BSL-1.0
#include "name_answer.hpp"

#include <boost/asio/error.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>
#include <system_error>

namespace coir::net {

using boost::asio::ip::tcp;
using boost::system::error_code;
namespace error = boost::asio::error;

namespace {

/// As Asio translates them; `number` is errno's value.
error_code error_of(int result, int number) noexcept
{
    switch (result) {
    case 0: return {};
    case EAI_AGAIN: return error::host_not_found_try_again;
    case EAI_BADFLAGS: return error::invalid_argument;
    case EAI_FAIL: return error::no_recovery;
    case EAI_FAMILY: return error::address_family_not_supported;
    case EAI_MEMORY: return error::no_memory;
    case EAI_NONAME:
    case EAI_ADDRFAMILY:
    case EAI_NODATA: return error::host_not_found;
    case EAI_SERVICE: return error::service_not_found;
    case EAI_SOCKTYPE: return error::socket_type_not_supported;
    default: return {number, boost::system::system_category()};
    }
}

/// getaddrinfo's result.
int get_addresses(const name_query& query, int flags, host_addresses& found)
{
    addrinfo hints{};
    hints.ai_family = query.family;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    addrinfo* list = nullptr;
    const int result = ::getaddrinfo(query.host.empty() ? nullptr : query.host.c_str(),
                                     query.service.empty() ? nullptr : query.service.c_str(), &hints, &list);
    if (result != 0)
        return result;
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned{list, [](addrinfo* all) { ::freeaddrinfo(all); }};
    if (list->ai_canonname)
        found.canonical_name = list->ai_canonname;
    for (const auto* each = list; each; each = each->ai_next) {
        tcp::endpoint endpoint;
        if (each->ai_addrlen > endpoint.capacity())
            continue;
        std::memcpy(endpoint.data(), each->ai_addr, each->ai_addrlen);
        endpoint.resize(each->ai_addrlen);
        // The hosts file may give the same address twice.
        if (std::ranges::find(found.endpoints, endpoint) == found.endpoints.end())
            found.endpoints.push_back(endpoint);
    }
    return 0;
}

bool is_number(std::string_view text) noexcept
{
    return std::ranges::all_of(text, [](char each) { return each >= '0' && each <= '9'; });
}

/// glibc takes what does not fit modulo 65536.
bool is_port(std::string_view number) noexcept
{
    unsigned port = 0;
    const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), port);
    return failure == std::errc{} && end == number.data() + number.size() && port <= 65'535;
}

} // namespace

name_answer ask_for_addresses(const name_query& query)
{
    name_answer result;
    const int failed = get_addresses(query, static_cast<int>(query.flags), result.addresses);
    result.failure = error_of(failed, errno);
    return result;
}

name_answer ask_for_names(const tcp::endpoint& endpoint)
{
    name_answer result;
    std::array<char, NI_MAXHOST> host;
    std::array<char, NI_MAXSERV> service;
    const int failed = ::getnameinfo(endpoint.data(), static_cast<socklen_t>(endpoint.size()), host.data(), host.size(),
                                     service.data(), service.size(), 0);
    result.failure = error_of(failed, errno);
    if (failed == 0)
        result.names = {host.data(), service.data()};
    return result;
}

bool answer_in_place(const name_query& query, host_addresses& found, error_code& ec)
{
    const auto has_zero = [](const std::string& text) { return text.find('\0') != std::string::npos; };
    if (has_zero(query.host) || has_zero(query.service)) {
        ec = error::invalid_argument;
        return true;
    }
    const bool service_is_number = is_number(query.service);
    if (service_is_number && !query.service.empty() && !is_port(query.service)) {
        ec = error::service_not_found;
        return true;
    }
    if (!service_is_number)
        return false;
    // Who asks for ::1 by its number wants it also where no address of that family is configured.
    const int flags =
        (static_cast<int>(query.flags) | AI_NUMERICHOST | AI_NUMERICSERV) & ~(AI_ADDRCONFIG | AI_CANONNAME);
    const int result = get_addresses(query, query.service.empty() ? flags & ~AI_NUMERICSERV : flags, found);
    ec = error_of(result, errno);
    return result != EAI_NONAME || query.host.empty() || query.flags & boost::asio::ip::resolver_base::numeric_host;
}

std::string key_of(const name_query& query)
{
    std::string key{query.host};
    for (char& each : key) // names do not differ by case (RFC 4343)
        if (each >= 'A' && each <= 'Z')
            each = static_cast<char>(each - 'A' + 'a');
    return key + '\0' + query.service + '\0' + std::to_string(query.family) + ' ' +
           std::to_string(static_cast<int>(query.flags));
}

std::string key_of(const tcp::endpoint& endpoint)
{
    return std::string(1, '\0') + std::string{reinterpret_cast<const char*>(endpoint.data()), endpoint.size()};
}

} // namespace coir::net
