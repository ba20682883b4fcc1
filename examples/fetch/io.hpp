// SPDX-License-Identifier: BSL-1.0
#pragma once
// Small things around descriptors and text.
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

/// A descriptor that closes itself.
class unique_fd {
public:
    unique_fd() = default;
    explicit unique_fd(int fd) noexcept : fd_{fd} {}
    unique_fd(unique_fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    unique_fd& operator=(unique_fd&& other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~unique_fd() { reset(); }

    int get() const noexcept { return fd_; }
    void reset() noexcept
    {
        if (fd_ >= 0)
            ::close(std::exchange(fd_, -1));
    }

private:
    int fd_ = -1;
};

/// `result` of a system call; throws std::system_error with `what` where it is negative.
int checked(int result, const char* what);

/// Throws std::system_error.
void write_all(int fd, std::string_view data);
std::string read_all(int fd);

/// The text on one line, with nothing in it that a terminal would obey.
std::string printable(std::string_view text);

/// 1234567 as "1,234,567".
std::string grouped(std::size_t number);
