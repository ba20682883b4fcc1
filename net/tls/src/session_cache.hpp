// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "openssl.hpp"

#include <cstddef>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace coir::net {

/// A client's sessions, by the server that they can be resumed with. Any thread.
class session_cache {
public:
    explicit session_cache(std::size_t servers_max) noexcept : servers_max_{servers_max} {}

    void put(const std::string& key, openssl_ptr<SSL_SESSION> session);
    /// Null if there is none.
    openssl_ptr<SSL_SESSION> take(const std::string& key);
    std::size_t size() const;

private:
    /// Those of one server, the oldest first.
    using server = std::pair<const std::string, std::vector<openssl_ptr<SSL_SESSION>>>;
    /// Connections of a client that come at the same time each want a ticket of their own. A server sends two with each
    /// handshake (OpenSSL's default).
    static constexpr std::size_t sessions_max = 8;

    // Callbacks of OpenSSL's come here, in which nothing may suspend: see take_openssl_error. A std::mutex does not,
    // and is held by nobody who waits.
    mutable std::mutex guard_;
    std::list<server> servers_; ///< the one that was longest without a new session first
    std::map<std::string_view, std::list<server>::iterator> by_key_;
    const std::size_t servers_max_;
};

} // namespace coir::net
