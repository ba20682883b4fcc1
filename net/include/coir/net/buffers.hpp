// SPDX-License-Identifier: BSL-1.0
#pragma once
// What can be read into and written from: Asio's buffer sequences, and what is a stretch of bytes by itself.
#include <concepts>
#include <cstddef>
#include <iterator>
#include <memory>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

#include <sys/uio.h>

#include <boost/asio/buffer.hpp>

namespace coir::net {

template <class T>
concept byte_like = std::same_as<std::remove_cv_t<T>, char> || std::same_as<std::remove_cv_t<T>, unsigned char> ||
                    std::same_as<std::remove_cv_t<T>, signed char> || std::same_as<std::remove_cv_t<T>, std::byte>;

/// std::span<std::byte>, std::array<char, N>, std::vector<unsigned char>, std::string ...
template <class T>
concept byte_range = std::ranges::contiguous_range<T> && std::ranges::sized_range<T> &&
                     byte_like<std::remove_reference_t<std::ranges::range_reference_t<T>>>;

/// What `read_some` and its kin fill: a MutableBufferSequence of Asio, or a range of bytes of its full size.
template <class T>
concept mutable_bytes = boost::asio::is_mutable_buffer_sequence<std::remove_cvref_t<T>>::value ||
                        (byte_range<T> && !std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<T>>>);

/// What `write_some` and its kin take: a ConstBufferSequence of Asio, a range of bytes, or text without its final 0.
template <class T>
concept const_bytes = boost::asio::is_const_buffer_sequence<std::remove_cvref_t<T>>::value || byte_range<T> ||
                      std::convertible_to<T, std::string_view>;

/// A buffer sequence as the kernel takes it. Allocates only if there are more than a few buffers.
class buffer_parts {
public:
    buffer_parts(const buffer_parts&) = delete;
    buffer_parts& operator=(const buffer_parts&) = delete;

    template <mutable_bytes T> static buffer_parts to_fill(T&& buffers)
    {
        if constexpr (boost::asio::is_mutable_buffer_sequence<std::remove_cvref_t<T>>::value)
            return buffer_parts{buffers};
        else
            return buffer_parts{boost::asio::mutable_buffer{std::ranges::data(buffers), std::ranges::size(buffers)}};
    }
    template <const_bytes T> static buffer_parts to_send(T&& buffers)
    {
        if constexpr (boost::asio::is_const_buffer_sequence<std::remove_cvref_t<T>>::value) {
            return buffer_parts{buffers};
        } else if constexpr (std::convertible_to<T, std::string_view>) {
            const std::string_view text = buffers;
            return buffer_parts{boost::asio::const_buffer{text.data(), text.size()}};
        } else {
            return buffer_parts{boost::asio::const_buffer{std::ranges::data(buffers), std::ranges::size(buffers)}};
        }
    }

    std::span<const iovec> left() const noexcept { return {first_, count_}; }
    /// Bytes in what is left.
    std::size_t size() const noexcept { return size_; }
    /// The first `bytes` of what is left have been done.
    void consume(std::size_t bytes) noexcept
    {
        size_ -= bytes;
        for (; count_ > 0 && bytes >= first_->iov_len; ++first_, --count_)
            bytes -= first_->iov_len;
        if (count_ > 0) {
            first_->iov_base = static_cast<std::byte*>(first_->iov_base) + bytes;
            first_->iov_len -= bytes;
        }
    }

private:
    template <class Buffers> explicit buffer_parts(const Buffers& buffers)
    {
        const auto end = boost::asio::buffer_sequence_end(buffers);
        const auto count = static_cast<std::size_t>(std::distance(boost::asio::buffer_sequence_begin(buffers), end));
        if (count > std::size(few_)) {
            many_ = std::make_unique_for_overwrite<iovec[]>(count);
            first_ = many_.get();
        }
        for (auto each = boost::asio::buffer_sequence_begin(buffers); each != end; ++each) {
            const boost::asio::const_buffer part{*each};
            first_[count_++] = {const_cast<void*>(part.data()), part.size()};
            size_ += part.size();
        }
    }

    iovec few_[8];
    std::unique_ptr<iovec[]> many_;
    iovec* first_ = few_;
    std::size_t count_ = 0;
    std::size_t size_ = 0;
};

/// iovecs as a buffer sequence of Asio's, for a layer that passes on what it was given.
class buffer_views {
public:
    class iterator {
    public:
        using value_type = boost::asio::mutable_buffer;
        using difference_type = std::ptrdiff_t;
        using reference = value_type;
        using pointer = const value_type*;
        using iterator_category = std::bidirectional_iterator_tag;
        iterator() = default;
        explicit iterator(const iovec* at) noexcept : at_{at} {}
        value_type operator*() const noexcept { return {at_->iov_base, at_->iov_len}; }
        iterator& operator++() noexcept
        {
            ++at_;
            return *this;
        }
        iterator operator++(int) noexcept { return iterator{at_++}; }
        iterator& operator--() noexcept
        {
            --at_;
            return *this;
        }
        iterator operator--(int) noexcept { return iterator{at_--}; }
        friend bool operator==(const iterator&, const iterator&) = default;

    private:
        const iovec* at_ = nullptr;
    };
    using value_type = boost::asio::mutable_buffer;
    using const_iterator = iterator;

    explicit buffer_views(std::span<const iovec> parts) noexcept : parts_{parts} {}
    iterator begin() const noexcept { return iterator{parts_.data()}; }
    iterator end() const noexcept { return iterator{parts_.data() + parts_.size()}; }

private:
    std::span<const iovec> parts_;
};
inline buffer_views views_of(std::span<const iovec> parts) noexcept
{
    return buffer_views{parts};
}
inline std::size_t size_of(std::span<const iovec> parts) noexcept
{
    std::size_t size = 0;
    for (const auto& each : parts)
        size += each.iov_len;
    return size;
}

} // namespace coir::net
