// SPDX-License-Identifier: BSL-1.0
#pragma once
// A fiber that runs into its guard page dies with a sentence that names it, instead of a bare SIGSEGV.
#include <memory>

namespace coir {

/// While it lives, this thread has a signal stack, which a handler needs when the fiber's own is used up. The handler
/// itself is installed once in the process, and passes on every fault that is not an overflow. Under AddressSanitizer
/// and ThreadSanitizer, whose reports say more, it does nothing.
class overflow_report {
public:
    overflow_report();
    ~overflow_report();
    overflow_report(const overflow_report&) = delete;
    overflow_report& operator=(const overflow_report&) = delete;

private:
    std::unique_ptr<std::byte[]> stack_; ///< null if the thread had a signal stack already
};

} // namespace coir
