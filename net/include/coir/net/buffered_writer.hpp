// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/stream.hpp>

#include <array>
#include <cstddef>
#include <string>

namespace coir::net {

/// Collects small writes, and passes them on together.
///
///     coir::net::buffered_writer output{connection};
///     for (auto& row : rows)
///         output.write(to_csv(row));
///     output.flush();
///
/// Refers to the stream, which must outlive it. One fiber at a time. Is itself a stream that can be written. Its
/// destructor drops what has not been flushed: it could neither wait nor tell of an error.
template <class Stream> class buffered_writer : public writable_stream<buffered_writer<Stream>> {
public:
    static constexpr std::size_t default_capacity = 8192;

    explicit buffered_writer(Stream& to, std::size_t capacity = default_capacity) : to_{to}, capacity_{capacity}
    {
        bytes_.reserve(capacity);
    }

    Stream& next_layer() noexcept { return to_; }
    /// How much has not been passed on. Never suspends.
    std::size_t buffered() const noexcept { return bytes_.size(); }

    /// Suspends until all has been passed on. What has not when it fails or is cancelled stays, and another call goes
    /// on from there.
    void flush(error_code& ec)
    {
        ec.clear();
        while (!bytes_.empty() && !ec.failed())
            bytes_.erase(0, to_.write_some(bytes_, ec));
    }
    void flush()
    {
        error_code ec;
        flush(ec);
        throw_if(ec, "coir::net: flush");
    }

    // For writable_stream.
    std::size_t write_parts(std::span<const iovec> from, error_code& ec)
    {
        const auto size = size_of(from);
        if (bytes_.size() + size > capacity_) {
            flush(ec);
            if (ec.failed())
                return 0;
            if (size > capacity_)
                return to_.write_some(views_of(from), ec);
        }
        for (const auto& each : from)
            bytes_.append(static_cast<const char*>(each.iov_base), each.iov_len);
        ec.clear();
        return size;
    }

private:
    Stream& to_;
    std::size_t capacity_;
    std::string bytes_;
};

} // namespace coir::net
