// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/basic_channel.hpp>

namespace coir {

/// A channel that gives out the newest value first: for work whose latest is the most useful, or still in the cache.
///
/// Otherwise as `channel`; values of senders that wait come in when there is room.
///
///     coir::lifo_channel<int> numbers;
///     numbers.send(1);
///     numbers.send(2);
///     CHECK(numbers.receive() == 2);
template <class T> class lifo_channel : public basic_channel<T, lifo_buffer<T>> {
public:
    explicit lifo_channel(std::size_t capacity = unbounded) : basic_channel<T, lifo_buffer<T>>{capacity} {}
};

} // namespace coir
