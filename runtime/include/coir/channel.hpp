// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/basic_channel.hpp>

namespace coir {

/// A queue between fibers: first in, first out. Capacity 0 hands over: a send then ends when the value has been
/// received. `coir::unbounded` never makes a sender wait.
///
/// The operations are basic_channel's: send, try_send, send_for, send_until, receive, try_receive, receive_for,
/// receive_until, close, and a range-based `for`. Between fibers, hubs and plain threads.
///
///     coir::channel<int> numbers{16};
///     coir::fiber producer{[&] { for (int i = 0; i < 100; ++i) numbers.send(i); numbers.close(); }};
///     for (int number : numbers) ...
template <class T> class channel : public basic_channel<T, fifo_buffer<T>> {
public:
    explicit channel(std::size_t capacity = 0) : basic_channel<T, fifo_buffer<T>>{capacity} {}
};

} // namespace coir
