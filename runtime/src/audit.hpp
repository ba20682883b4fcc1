// SPDX-License-Identifier: BSL-1.0
#pragma once
// COIR_AUDIT=1: says when a hub's thread has been blocked in the kernel for 10 ms or longer, by what and by whom.
// Without the variable there is no thread and no cost.
#include <atomic>
#include <memory>

namespace coir {

class scheduler;
class watched_hub;

/// A hub that runs on this thread while this lives.
class audited_hub {
public:
    explicit audited_hub(const scheduler& hub);
    ~audited_hub();
    audited_hub(const audited_hub&) = delete;
    audited_hub& operator=(const audited_hub&) = delete;

    /// Around what fibers do: their calls may be trapped, the loop's are not.
    void enter_fibers() noexcept { selector_.store(1, std::memory_order_relaxed); }
    void enter_loop() noexcept { selector_.store(0, std::memory_order_relaxed); }

private:
    std::atomic<unsigned char> selector_{0};
    std::unique_ptr<watched_hub> watched_; ///< null without an audit
};

} // namespace coir
