// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber_group.hpp>
#include <coir/net/pipe.hpp>
#include <coir/net/socket.hpp>
#include <coir/net/stream.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>

namespace coir::net {

/// Moves bytes inside of the kernel (splice(2)), between sockets and pipes. What `copy` uses.
class splicer {
public:
    /// Sockets get O_NONBLOCK. Never suspends.
    splicer(int from, int to) noexcept;
    /// Whether it can be done: not with files and terminals, and not when there are no descriptors left for a pipe.
    bool usable() const noexcept { return usable_; }

    /// Suspends. Waits for something, and returns how much of it has been passed on; the rest is passed on by the next
    /// call. Fails with error::eof at the end.
    std::size_t move_some(error_code& ec);

private:
    struct side {
        int descriptor;
        bool is_pipe;
    };
    std::size_t move(side from, side to, std::size_t size, error_code& ec);

    side from_;
    side to_;
    bool usable_ = false;
    pipe_ends between_{}; ///< where neither is a pipe
    std::size_t inside_ = 0;
};

template <class Stream>
concept spliceable = std::derived_from<Stream, socket> || std::derived_from<Stream, pipe_reader> ||
                     std::derived_from<Stream, pipe_writer>;

/// How far a copy goes by reading and writing before the kernel takes over: a conversation of small messages is better
/// off without.
inline constexpr std::size_t bulk_size = 128 * 1024;

/// Suspends. Reads `from` to its end and writes all of it to `to`, which stays open. Returns how many bytes were
/// written. Between sockets and pipes the kernel moves them, once they are many; a socket has O_NONBLOCK from then on,
/// until it is released.
///
/// `*done` is kept up to date all the time, and says how far a copy came that was cancelled. What had been read by then
/// and not written, at most 64 KiB, is lost.
template <class From, class To> std::size_t copy(From& from, To& to, error_code& ec, std::size_t* done = nullptr);
template <class From, class To> std::size_t copy(From& from, To& to, std::size_t* done = nullptr)
{
    error_code ec;
    const auto size = copy(from, to, ec, done);
    throw_if(ec, "coir::net: copy");
    return size;
}

/// What a relay has moved.
struct relay_report {
    std::size_t forth = 0; ///< bytes from the first to the second
    std::size_t back = 0;
};

/// Suspends. Copies both ways until both have ended. The end of one direction is passed on, and the other goes on. An
/// error of one ends both. In a fiber only.
///
///     coir::net::relay(client, server);
template <class First, class Second> relay_report relay(First& first, Second& second, error_code& ec);
template <class First, class Second> relay_report relay(First& first, Second& second)
{
    error_code ec;
    const auto report = relay(first, second, ec);
    throw_if(ec, "coir::net: relay");
    return report;
}

// ---------------------------------------------------------------------------------------------------------------------

/// Until the end, an error, or `total` has come to `limit`.
template <class From, class To>
void copy_through_buffer(From& from, To& to, std::size_t limit, std::size_t& total, error_code& ec)
{
    std::array<std::byte, 16 * 1024> data;
    ec.clear();
    while (!ec.failed() && total < limit) {
        std::span<const std::byte> unwritten{data.data(), from.read_some(data, ec)};
        while (!ec.failed() && !unwritten.empty()) {
            const auto size = to.write_some(unwritten, ec);
            total += size;
            unwritten = unwritten.subspan(size);
        }
    }
}

template <class From, class To> std::size_t copy(From& from, To& to, error_code& ec, std::size_t* done)
{
    constexpr auto no_limit = std::numeric_limits<std::size_t>::max();
    constexpr bool in_kernel = spliceable<From> && spliceable<To>;
    std::size_t counted = 0;
    auto& total = done ? *done : counted;
    total = 0;
    copy_through_buffer(from, to, in_kernel ? bulk_size : no_limit, total, ec);
    if constexpr (in_kernel) {
        if (!ec.failed()) {
            if (splicer kernel{from.native_handle(), to.native_handle()}; kernel.usable())
                while (!ec.failed())
                    total += kernel.move_some(ec);
            else
                copy_through_buffer(from, to, no_limit, total, ec);
        }
    }
    if (is_eof(ec))
        ec.clear();
    return total;
}

template <class First, class Second> relay_report relay(First& first, Second& second, error_code& ec)
{
    relay_report report;
    error_code failure;
    fiber_group directions;
    const auto pump = [&](auto& from, auto& to, std::size_t& total) {
        error_code ended;
        copy(from, to, ended, &total);
        if constexpr (requires { to.shutdown(socket::shutdown_send, ended); }) {
            if (!ended.failed())
                to.shutdown(socket::shutdown_send, ended);
            if (ended == error::not_connected) // gone already
                ended.clear();
        } else if (!ended.failed()) {
            to.close(ended);
        }
        if (ended.failed() && !failure.failed()) {
            failure = ended;
            directions.cancel();
        }
    };
    directions.spawn([&] { pump(first, second, report.forth); });
    directions.spawn([&] { pump(second, first, report.back); });
    directions.join();
    ec = failure;
    return report;
}

} // namespace coir::net
