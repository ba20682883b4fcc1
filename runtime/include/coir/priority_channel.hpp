// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/basic_channel.hpp>

#include <functional>

namespace coir {

/// A channel that gives out the greatest value first, as std::priority_queue does; equal ones in no certain order.
///
/// Otherwise as `channel`; values of senders that wait come in when there is room. `Compare` is called under the
/// channel's lock: it must be quick, not wait and not throw (that terminates).
///
///     coir::priority_channel<int> numbers;
///     numbers.send(1);
///     numbers.send(2);
///     CHECK(numbers.receive() == 2);
template <class T, class Compare = std::less<T>>
class priority_channel : public basic_channel<T, priority_buffer<T, Compare>> {
    static_assert(std::is_nothrow_move_assignable_v<T>, "a priority_channel moves values under its lock");

public:
    explicit priority_channel(std::size_t capacity = unbounded, Compare compare = {})
        : basic_channel<T, priority_buffer<T, Compare>>{capacity, std::move(compare)}
    {
    }
};

} // namespace coir
