// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/clock.hpp>

#include <boost/asio/ip/resolver_base.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace coir::net {

/// A question about a name. The flags are Asio's, which are getaddrinfo(3)'s.
struct name_query {
    std::string host{};    ///< a name, or an address in figures; empty: this machine
    std::string service{}; ///< a port, or a name of services(5); empty: port 0
    boost::asio::ip::resolver_base::flags flags = boost::asio::ip::resolver_base::address_configured;
    int family = 0; ///< AF_INET or AF_INET6; 0 (AF_UNSPEC) for both
};

/// What a name stands for.
struct host_addresses {
    /// In the order in which to try them, which is libc's (RFC 6724, gai.conf(5)). An endpoint of another protocol has
    /// the same address and port.
    std::vector<boost::asio::ip::tcp::endpoint> endpoints;
    std::string canonical_name; ///< if `canonical_name` was among the flags

    /// For functions of Asio's that want a range of its entries: a copy.
    boost::asio::ip::tcp::resolver::results_type as_results(const name_query& of) const;
};

/// What an address is called.
struct endpoint_names {
    std::string host;    ///< in figures, if it has no name
    std::string service; ///< of TCP; in figures, if it has no name
};

struct resolver_options {
    std::size_t lookups_max = 8;     ///< at a time; what comes while so many run waits for one to end, in order
    clock::duration ttl{};           ///< how long answers are kept. libc does not say how long they hold. 0: not at all
    clock::duration negative_ttl{};  ///< how long it is remembered that a name does not exist. 0: not at all
    std::size_t entries_max = 1'000; ///< answers that are kept; the oldest go first
    /// Answers in place of getaddrinfo(3): a DNS library, or a test. Called on a helper thread; may throw.
    std::function<boost::system::error_code(const name_query&, host_addresses&)> ask{};
};

/// Names, as libc resolves them: hosts(5), nsswitch.conf(5), the search list of resolv.conf(5), whatever modules there
/// are. The genuine getaddrinfo(3) and getnameinfo(3) run on helper threads, and the caller suspends.
///
/// The same question, asked again while it is being looked up, is not looked up again: all who ask get the one answer.
/// Who is cancelled, or runs out of time, leaves at once; the look-up then ends for whoever else waits, or for nobody.
/// Numbers are answered in place.
///
///     coir::net::resolver names{{.ttl = 30s}};
///     for (const auto& endpoint : names.resolve("example.org", "https").endpoints)
///         ...
///
/// Any thread and any fiber may use one, at the same time; a plain thread blocks. May be destroyed while look-ups run
/// that nobody waits for. In a child made by fork, those of the parent are not to be used; `shared` is a new one there.
class resolver {
public:
    explicit resolver(const resolver_options& options = {});
    resolver(resolver&&) noexcept;
    resolver& operator=(resolver&&) noexcept;
    ~resolver();

    /// The one that `connect` uses: no answers are kept.
    static resolver& shared();

    /// Suspends, unless it is all figures or known. `ec` is one of Asio's: error::host_not_found, which may be
    /// host_not_found_try_again (no server has answered), error::service_not_found, no_recovery, or what errno said;
    /// error::invalid_argument where the host has a zero byte, and the port is none where it is larger than 65535.
    /// Both forms throw `cancelled` and `timed_out`; the second throws std::system_error, which names the host.
    host_addresses resolve(const name_query& query, boost::system::error_code& ec);
    host_addresses resolve(const name_query& query);
    host_addresses resolve(std::string_view host, std::string_view service, boost::system::error_code& ec)
    {
        return resolve({.host = std::string{host}, .service = std::string{service}}, ec);
    }
    host_addresses resolve(std::string_view host, std::string_view service)
    {
        return resolve({.host = std::string{host}, .service = std::string{service}});
    }

    /// The other way round. Suspends, fails and throws as `resolve`.
    endpoint_names names_of(const boost::asio::ip::tcp::endpoint& endpoint, boost::system::error_code& ec);
    endpoint_names names_of(const boost::asio::ip::tcp::endpoint& endpoint);

    /// Forgets the answers that are kept. Never suspends for long: only for the lock.
    void forget();

    struct counts {
        std::size_t looked_up = 0;  ///< questions that went to libc
        std::size_t shared = 0;     ///< questions that joined one that was being looked up
        std::size_t remembered = 0; ///< questions that a kept answer was given to
        std::size_t running = 0;    ///< look-ups at this moment
        std::size_t waiting = 0;    ///< questions that wait for a look-up to end before they can be asked
        std::size_t kept = 0;       ///< answers at this moment
    };
    counts count() const;

private:
    struct state;
    std::shared_ptr<state> state_;
};

} // namespace coir::net
