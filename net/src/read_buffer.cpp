// SPDX-License-Identifier: BSL-1.0
#include <coir/net/read_buffer.hpp>

#include <algorithm>
#include <cstring>

namespace coir::net {

read_buffer::read_buffer(std::size_t capacity)
    : bytes_{std::make_unique_for_overwrite<char[]>(std::max<std::size_t>(capacity, 1))},
      capacity_{std::max<std::size_t>(capacity, 1)}
{
}

void read_buffer::consume(std::size_t size) noexcept
{
    begin_ += std::min(size, end_ - begin_);
    if (begin_ == end_)
        begin_ = end_ = 0;
}

std::size_t read_buffer::take(std::span<std::byte> into) noexcept
{
    const auto size = std::min(into.size(), this->size());
    if (size > 0)
        std::memcpy(into.data(), bytes_.get() + begin_, size);
    consume(size);
    return size;
}

std::span<char> read_buffer::room(std::size_t wanted)
{
    wanted = std::max(wanted, size() + 1);
    if (wanted > capacity_) {
        const auto larger = std::max(wanted, 2 * capacity_);
        auto moved = std::make_unique_for_overwrite<char[]>(larger);
        std::memcpy(moved.get(), bytes_.get() + begin_, size());
        bytes_ = std::move(moved);
        capacity_ = larger;
    } else if (begin_ + wanted > capacity_) {
        std::memmove(bytes_.get(), bytes_.get() + begin_, size());
    } else {
        return {bytes_.get() + end_, capacity_ - end_};
    }
    end_ -= begin_;
    begin_ = 0;
    return {bytes_.get() + end_, capacity_ - end_};
}

} // namespace coir::net
