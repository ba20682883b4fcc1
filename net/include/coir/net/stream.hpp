// SPDX-License-Identifier: BSL-1.0
#pragma once
// What can be done with a stream of bytes, once for every type of stream: TCP, Unix sockets, pipes, terminals, TLS. A
// stream derives from `readable_stream<itself>`, `writable_stream<itself>` or both, and has
//
//     std::size_t read_parts(std::span<const iovec> into, error_code& ec);
//     std::size_t write_parts(std::span<const iovec> from, error_code& ec);
//
// which transfer something, at least a byte, or fail. With both it models Asio's SyncReadStream and SyncWriteStream:
// asio::read_until, asio::write, Beast's HTTP and WebSocket work over it as they stand.
#include <coir/net/buffers.hpp>
#include <coir/net/error.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace coir::net {

/// Reading, for all streams that can be read. One fiber at a time reads; another may write meanwhile.
///
/// Each function suspends until there is something to read, or blocks a plain thread. At the end of the stream it
/// fails with error::eof. Throws `cancelled` and `timed_out`, before anything is transferred.
template <class Stream> class readable_stream {
public:
    /// Suspends. Reads what there is, at least a byte unless the buffers have no room. Returns how much.
    template <mutable_bytes Buffers> std::size_t read_some(Buffers&& into, error_code& ec)
    {
        const auto parts = buffer_parts::to_fill(into);
        if (parts.size() == 0) {
            ec.clear();
            return 0;
        }
        return self().read_parts(parts.left(), ec);
    }
    template <mutable_bytes Buffers> std::size_t read_some(Buffers&& into)
    {
        error_code ec;
        const auto size = read_some(into, ec);
        throw_if(ec, "coir::net: read_some");
        return size;
    }

    /// Suspends. Fills the buffers. Returns how much was read: less than that if it fails, with error::eof at the end
    /// of the stream. What a cancellation has interrupted has read something too: `*done` is kept up to date all the
    /// time.
    template <mutable_bytes Buffers> std::size_t read(Buffers&& into, error_code& ec, std::size_t* done = nullptr)
    {
        auto parts = buffer_parts::to_fill(into);
        const auto all = parts.size();
        if (done)
            *done = 0;
        ec.clear();
        while (parts.size() > 0) {
            parts.consume(self().read_parts(parts.left(), ec));
            if (done)
                *done = all - parts.size();
            if (ec.failed())
                break;
        }
        return all - parts.size();
    }
    template <mutable_bytes Buffers> std::size_t read(Buffers&& into, std::size_t* done = nullptr)
    {
        error_code ec;
        const auto size = read(into, ec, done);
        throw_if(ec, "coir::net: read");
        return size;
    }

    /// Suspends. Reads until `delimiter` is in `text`, which is looked at first: what an earlier call has read beyond
    /// its own delimiter belongs there. Returns the size up to and including the delimiter; there may be more in `text`
    /// behind it. Fails with error::not_found where `text` would become larger than `max_size`. What was read before a
    /// failure or a cancellation is in `text`.
    std::size_t read_until(std::string& text, std::string_view delimiter, std::size_t max_size, error_code& ec);
    std::size_t read_until(std::string& text, std::string_view delimiter, std::size_t max_size = 1 << 20)
    {
        error_code ec;
        const auto size = read_until(text, delimiter, max_size, ec);
        throw_if(ec, "coir::net: read_until");
        return size;
    }

protected:
    ~readable_stream() = default;

private:
    Stream& self() noexcept { return static_cast<Stream&>(*this); }
};

/// Writing, for all streams that can be written. One fiber at a time writes; another may read meanwhile.
///
/// Each function suspends until there is room, or blocks a plain thread. Throws `cancelled` and `timed_out`, before
/// anything is transferred. A peer that is gone is an error, never SIGPIPE.
template <class Stream> class writable_stream {
public:
    /// Suspends. Writes what there is room for, at least a byte unless the buffers are empty. Returns how much.
    template <const_bytes Buffers> std::size_t write_some(Buffers&& from, error_code& ec)
    {
        const auto parts = buffer_parts::to_send(from);
        if (parts.size() == 0) {
            ec.clear();
            return 0;
        }
        return self().write_parts(parts.left(), ec);
    }
    template <const_bytes Buffers> std::size_t write_some(Buffers&& from)
    {
        error_code ec;
        const auto size = write_some(from, ec);
        throw_if(ec, "coir::net: write_some");
        return size;
    }

    /// Suspends. Writes all of it. Returns how much was written: less than that if it fails. What a cancellation has
    /// interrupted has written something too: `*done` is kept up to date all the time.
    template <const_bytes Buffers> std::size_t write(Buffers&& from, error_code& ec, std::size_t* done = nullptr)
    {
        auto parts = buffer_parts::to_send(from);
        const auto all = parts.size();
        if (done)
            *done = 0;
        ec.clear();
        while (parts.size() > 0) {
            parts.consume(self().write_parts(parts.left(), ec));
            if (done)
                *done = all - parts.size();
            if (ec.failed())
                break;
        }
        return all - parts.size();
    }
    template <const_bytes Buffers> std::size_t write(Buffers&& from, std::size_t* done = nullptr)
    {
        error_code ec;
        const auto size = write(from, ec, done);
        throw_if(ec, "coir::net: write");
        return size;
    }

protected:
    ~writable_stream() = default;

private:
    Stream& self() noexcept { return static_cast<Stream&>(*this); }
};

// ---------------------------------------------------------------------------------------------------------------------

template <class Stream>
std::size_t readable_stream<Stream>::read_until(std::string& text, std::string_view delimiter, std::size_t max_size,
                                                error_code& ec)
{
    constexpr std::size_t step = 4096;
    std::size_t looked_at = 0;
    for (;;) {
        // The delimiter may have come in part.
        const auto from = looked_at - std::min(looked_at, delimiter.empty() ? 0 : delimiter.size() - 1);
        if (const auto found = text.find(delimiter, from); found != std::string::npos) {
            ec.clear();
            return found + delimiter.size();
        }
        looked_at = text.size();
        if (looked_at >= max_size) {
            ec = error::not_found;
            return 0;
        }
        struct filled {
            std::string& text;
            std::size_t size;
            ~filled() { text.resize(size); }
        } keep{text, looked_at};
        text.resize(std::min(looked_at + step, max_size));
        keep.size += read_some(boost::asio::buffer(text.data() + looked_at, text.size() - looked_at), ec);
        if (ec.failed())
            return 0;
    }
}

} // namespace coir::net
