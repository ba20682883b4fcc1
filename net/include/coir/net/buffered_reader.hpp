// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/net/read_buffer.hpp>
#include <coir/net/stream.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace coir::net {

/// Reads from a stream in large pieces, and gives out small ones: lines, records, single bytes.
///
///     coir::net::buffered_reader input{connection};
///     while (auto line = input.read_line())
///         handle(*line);
///
/// Refers to the stream, which must outlive it. One fiber at a time. Is itself a stream that can be read. A line or a
/// record is taken when it is there as a whole: what a cancellation or an error interrupts has taken nothing, and can
/// be asked for again.
template <class Stream> class buffered_reader : public readable_stream<buffered_reader<Stream>> {
public:
    static constexpr std::size_t default_capacity = 8192;

    explicit buffered_reader(Stream& from, std::size_t capacity = default_capacity) : from_{from}, buffer_{capacity} {}

    Stream& next_layer() noexcept { return from_; }
    /// What has been read and not been asked for. Never suspends.
    std::string_view buffered() const noexcept { return buffer_.view(); }
    void consume(std::size_t size) noexcept { buffer_.consume(size); }

    /// Suspends until at least `size` bytes are there, and shows them without taking them, and whatever else there is.
    /// Shows less if it fails, with error::eof at the end of the stream. Valid until the next call.
    std::string_view peek(std::size_t size, error_code& ec)
    {
        ec.clear();
        while (buffer_.size() < size && !ec.failed())
            fill(size, ec);
        return buffer_.view();
    }
    std::string_view peek(std::size_t size)
    {
        error_code ec;
        const auto seen = peek(size, ec);
        throw_if(ec, "coir::net: peek");
        return seen;
    }

    /// Suspends. The next line without its end, which is "\n" or "\r\n". At the end of the stream, what is left is a
    /// line too; then it fails with error::eof. Fails with error::not_found where a line is longer than `size_max`.
    bool read_line(std::string& line, error_code& ec, std::size_t size_max = default_line_max)
    {
        const auto found = find("\n", size_max, ec);
        if (found == std::string_view::npos && !(is_eof(ec) && buffer_.size() > 0))
            return false;
        ec.clear();
        auto text = buffer_.view().substr(0, found);
        const auto size = found == std::string_view::npos ? text.size() : found + 1;
        if (found != std::string_view::npos && text.ends_with('\r'))
            text.remove_suffix(1);
        line.assign(text);
        buffer_.consume(size);
        return true;
    }
    /// The same; nothing at the end of the stream.
    std::optional<std::string> read_line(std::size_t size_max = default_line_max)
    {
        error_code ec;
        std::optional<std::string> line{std::in_place};
        if (!read_line(*line, ec, size_max)) {
            if (!is_eof(ec))
                throw_if(ec, "coir::net: read_line");
            line.reset();
        }
        return line;
    }

    /// Suspends. Exactly `size` bytes. Fails with error::eof where the stream ends before; what is there stays then.
    std::string read_exactly(std::size_t size, error_code& ec)
    {
        const auto seen = peek(size, ec);
        if (ec.failed())
            return {};
        std::string result{seen.substr(0, size)};
        buffer_.consume(size);
        return result;
    }
    std::string read_exactly(std::size_t size)
    {
        error_code ec;
        auto result = read_exactly(size, ec);
        throw_if(ec, "coir::net: read_exactly");
        return result;
    }

    // For readable_stream.
    std::size_t read_parts(std::span<const iovec> into, error_code& ec)
    {
        if (buffer_.size() == 0) {
            const auto size = size_of(into);
            if (size >= buffer_.capacity())
                return from_.read_some(views_of(into), ec);
            fill(1, ec);
            if (ec.failed())
                return 0;
        }
        ec.clear();
        std::size_t taken = 0;
        for (const auto& each : into)
            taken += buffer_.take({static_cast<std::byte*>(each.iov_base), each.iov_len});
        return taken;
    }

private:
    static constexpr std::size_t default_line_max = 65'536;

    void fill(std::size_t wanted, error_code& ec) { buffer_.filled(from_.read_some(buffer_.room(wanted), ec)); }

    /// Where `what` is, once it is there; npos if it fails.
    std::size_t find(std::string_view what, std::size_t size_max, error_code& ec)
    {
        ec.clear();
        for (std::size_t looked_at = 0;;) {
            const auto text = buffer_.view();
            if (const auto found = text.find(what, looked_at); found != std::string_view::npos && found <= size_max)
                return found;
            looked_at = text.size();
            if (looked_at > size_max) {
                ec = error::not_found;
                return std::string_view::npos;
            }
            fill(looked_at + 1, ec);
            if (ec.failed())
                return std::string_view::npos;
        }
    }

    Stream& from_;
    read_buffer buffer_;
};

} // namespace coir::net
