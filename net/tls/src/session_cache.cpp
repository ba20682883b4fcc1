// SPDX-License-Identifier: BSL-1.0
#include "session_cache.hpp"

namespace coir::net {

void session_cache::put(const std::string& key, openssl_ptr<SSL_SESSION> session)
{
    const std::scoped_lock held{guard_};
    const auto found = by_key_.find(key);
    if (found != by_key_.end()) {
        servers_.splice(servers_.end(), servers_, found->second);
    } else {
        if (servers_max_ == 0)
            return;
        if (servers_.size() >= servers_max_) {
            by_key_.erase(servers_.front().first);
            servers_.pop_front();
        }
        servers_.emplace_back(key, std::vector<openssl_ptr<SSL_SESSION>>{});
        by_key_.emplace(servers_.back().first, std::prev(servers_.end()));
    }
    auto& sessions = servers_.back().second;
    if (sessions.size() == sessions_max)
        sessions.erase(sessions.begin());
    sessions.push_back(std::move(session));
}

openssl_ptr<SSL_SESSION> session_cache::take(const std::string& key)
{
    const std::scoped_lock held{guard_};
    const auto found = by_key_.find(key);
    if (found == by_key_.end())
        return nullptr;
    const auto which = found->second;
    auto& sessions = which->second;
    auto newest = std::move(sessions.back());
    // A ticket of TLS 1.3 is for one connection, so that nobody who watches can tell that two are the same client's
    // (RFC 8446, C.4). A session of TLS 1.2 is resumed again and again.
    if (SSL_SESSION_get_protocol_version(newest.get()) < TLS1_3_VERSION) {
        SSL_SESSION_up_ref(newest.get());
        sessions.back().reset(newest.get());
        return newest;
    }
    sessions.pop_back();
    if (sessions.empty()) {
        by_key_.erase(found);
        servers_.erase(which);
    }
    return newest;
}

std::size_t session_cache::size() const
{
    const std::scoped_lock held{guard_};
    std::size_t count = 0;
    for (const auto& each : servers_)
        count += each.second.size();
    return count;
}

} // namespace coir::net
