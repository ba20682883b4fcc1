// SPDX-License-Identifier: BSL-1.0
#pragma once
// What libc says of one question: getaddrinfo's and getnameinfo's answers, with Asio's errors; and what needs no
// look-up at all. Nothing here knows of fibers.
#include <coir/net/resolver.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <string>

namespace coir::net {

struct name_answer {
    boost::system::error_code failure;
    host_addresses addresses; ///< of a name
    endpoint_names names;     ///< of an address
};

/// By getaddrinfo. Blocks the thread.
name_answer ask_for_addresses(const name_query& query);
/// By getnameinfo. Blocks the thread.
name_answer ask_for_names(const boost::asio::ip::tcp::endpoint& endpoint);

/// What is to be said without looking anything up; false where there is more to it.
bool answer_in_place(const name_query& query, host_addresses& found, boost::system::error_code& ec);

/// Two questions with the same key have the same answer.
std::string key_of(const name_query& query);
std::string key_of(const boost::asio::ip::tcp::endpoint& endpoint);

} // namespace coir::net
