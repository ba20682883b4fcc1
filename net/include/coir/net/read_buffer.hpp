// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace coir::net {

/// Bytes that have been read and not been asked for yet: what buffered_reader keeps. Grows as it must.
class read_buffer {
public:
    explicit read_buffer(std::size_t capacity);

    std::string_view view() const noexcept { return {bytes_.get() + begin_, end_ - begin_}; }
    std::size_t size() const noexcept { return end_ - begin_; }
    std::size_t capacity() const noexcept { return capacity_; }

    /// The first of them have been asked for.
    void consume(std::size_t size) noexcept;
    /// Takes up to the size of `into`, and says how many.
    std::size_t take(std::span<std::byte> into) noexcept;

    /// Room behind them, so that there could be `wanted` in all, and at least a byte. Invalidates `view`.
    std::span<char> room(std::size_t wanted);
    void filled(std::size_t size) noexcept { end_ += size; }

private:
    std::unique_ptr<char[]> bytes_;
    std::size_t capacity_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

} // namespace coir::net
