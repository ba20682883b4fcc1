// SPDX-License-Identifier: BSL-1.0
#pragma once
// COIR_AUDIT=MS: says when a hub's thread has been blocked in the kernel for so many milliseconds, by what and by whom.
// Without the variable there is no thread and no cost.
#include <memory>

namespace coir {

class scheduler;
struct watched_hub;

/// A hub that runs on this thread while this lives.
class audited_hub {
public:
    explicit audited_hub(const scheduler& hub);
    ~audited_hub();
    audited_hub(const audited_hub&) = delete;
    audited_hub& operator=(const audited_hub&) = delete;

private:
    std::unique_ptr<watched_hub> watched_; ///< null without an audit
};

} // namespace coir
