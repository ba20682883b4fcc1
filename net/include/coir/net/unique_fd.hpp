// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/error.hpp>

#include <utility>

namespace coir::net {

/// Owns a descriptor, as std::unique_ptr owns an object.
///
///     coir::net::unique_fd timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
class unique_fd {
public:
    constexpr unique_fd() noexcept = default;
    explicit constexpr unique_fd(int descriptor) noexcept : descriptor_{descriptor} {}
    constexpr unique_fd(unique_fd&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}
    unique_fd& operator=(unique_fd&& other) noexcept
    {
        reset(other.release());
        return *this;
    }
    ~unique_fd() { reset(); }

    int get() const noexcept { return descriptor_; }
    explicit operator bool() const noexcept { return descriptor_ >= 0; }

    /// Gives it up without closing it.
    [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }

    /// Closes what it has: fibers that wait for it are woken with error::bad_descriptor before the number can be used
    /// again. Never suspends. An error of close(2) is dropped; the descriptor is closed all the same.
    void reset(int descriptor = -1) noexcept
    {
        error_code ignored;
        if (const int before = std::exchange(descriptor_, descriptor); before >= 0)
            close_descriptor(before, ignored);
    }
    /// The same, and tells of the error.
    void close(error_code& ec) noexcept
    {
        ec.clear();
        if (descriptor_ >= 0)
            close_descriptor(std::exchange(descriptor_, -1), ec);
    }

    void swap(unique_fd& other) noexcept { std::swap(descriptor_, other.descriptor_); }

private:
    static void close_descriptor(int descriptor, error_code& ec) noexcept;

    int descriptor_ = -1;
};

} // namespace coir::net
