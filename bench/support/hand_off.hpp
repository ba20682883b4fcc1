// SPDX-License-Identifier: BSL-1.0
#pragma once
// The mutex workload: two fibers take turns, told by a condition variable. Written once, as the lock types are alike.
#include "bench.hpp"

#include <mutex>

namespace bench {

template <class Mutex, class Condition> class hand_off {
public:
    /// Both partners call this, one with `mine` and one without.
    void play(bool mine, number turns)
    {
        for (number i = 0; i < turns; ++i) {
            std::unique_lock lock{mutex_};
            while (turn_ != mine)
                changed_.wait(lock);
            turn_ = !mine;
            changed_.notify_one();
        }
    }

private:
    Mutex mutex_;
    Condition changed_;
    bool turn_ = true;
};

} // namespace bench
