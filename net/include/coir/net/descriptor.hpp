// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/unique_fd.hpp>

#include <boost/asio/any_io_executor.hpp>

namespace coir::net {

/// What streams, sockets and listeners have in common: an owned descriptor.
///
/// Fibers of one hub may use one object at the same time as far as its class says, and any of them may close it.
/// From another hub or thread only when none of them is in a call.
class descriptor {
public:
    using native_handle_type = int;
    /// What Asio's and Beast's layers over a stream ask for; coir itself does not need it.
    using executor_type = boost::asio::any_io_executor;

    bool is_open() const noexcept { return static_cast<bool>(fd_); }
    explicit operator bool() const noexcept { return is_open(); }
    /// -1 if it is not open.
    int native_handle() const noexcept { return fd_.get(); }

    /// Wakes the fibers that wait in a call of this object with error::bad_descriptor, and closes. Never suspends (but
    /// a socket with SO_LINGER blocks the thread for as long as that says). The destructor does it too.
    void close(error_code& ec) noexcept { fd_.close(ec); }
    void close();

    /// The calling hub's io_context, or Asio's system executor outside of fibers and in virtual time.
    static executor_type get_executor();

protected:
    descriptor() noexcept = default;
    explicit descriptor(unique_fd owned) noexcept : fd_{std::move(owned)} {}
    descriptor(descriptor&&) noexcept = default;
    descriptor& operator=(descriptor&&) noexcept = default;
    ~descriptor() = default;

    unique_fd fd_;
};

} // namespace coir::net
