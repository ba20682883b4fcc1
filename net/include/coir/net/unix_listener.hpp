// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/listener.hpp>
#include <coir/net/unix_stream.hpp>

#include <string>

namespace coir::net {

struct unix_listen_options {
    int backlog = default_backlog;
    bool unlink_on_close = true; ///< removes the path again
};

/// Accepts connections from processes of this machine, at a path or at a name in the abstract namespace.
///
///     coir::net::unix_listener listener{{"/run/daemon.sock"}};
///     auto client = listener.accept();
class unix_listener : public listener<unix_stream> {
public:
    unix_listener() noexcept = default;
    /// Never suspends. Throws std::system_error: error::address_in_use where the path exists, even if nobody listens.
    explicit unix_listener(const unix_endpoint& at, const unix_listen_options& options = {});
    static unix_listener listen(const unix_endpoint& at, const unix_listen_options& options, error_code& ec);
    static unix_listener listen(const unix_endpoint& at, error_code& ec) { return listen(at, {}, ec); }
    /// Takes over a listening socket and sets O_NONBLOCK. The path stays.
    explicit unix_listener(unique_fd listening);

    unix_listener(unix_listener&& other) noexcept;
    unix_listener& operator=(unix_listener&& other) noexcept;
    ~unix_listener();

    /// As of any descriptor. Removes the path first.
    void close(error_code& ec) noexcept;
    void close();
    /// As of any listener. The path stays.
    [[nodiscard]] unique_fd release() noexcept;

private:
    void unlink_path() noexcept;

    std::string path_; ///< to remove; empty if there is nothing to
};

} // namespace coir::net
