// SPDX-License-Identifier: BSL-1.0
#pragma once
// Scattered buffers, as readv and sendmsg take them.
#include <sys/uio.h>

#include <cstddef>
#include <utility>
#include <vector>

namespace coir {

inline size_t total_size(const iovec* parts, int count) noexcept
{
    size_t total = 0;
    for (int i = 0; i < count; ++i)
        total += parts[i].iov_len;
    return total;
}

/// What is left of an array of buffers after some bytes have been done. Copies it only then.
class remaining_parts {
public:
    remaining_parts(const iovec* parts, size_t count) noexcept : parts_{parts}, count_{count} {}

    void skip_to(size_t offset)
    {
        if (offset == offset_)
            return;
        if (copy_.empty()) {
            copy_.assign(parts_, parts_ + count_);
            parts_ = copy_.data();
        }
        size_t step = offset - std::exchange(offset_, offset);
        while (count_ > 0 && step >= parts_->iov_len) {
            step -= parts_->iov_len;
            ++parts_;
            --count_;
        }
        if (count_ > 0) {
            auto& first = copy_[copy_.size() - count_];
            first.iov_base = static_cast<char*>(first.iov_base) + step;
            first.iov_len -= step;
        }
    }

    const iovec* data() const noexcept { return parts_; }
    size_t size() const noexcept { return count_; }

private:
    const iovec* parts_;
    size_t count_;
    size_t offset_ = 0;
    std::vector<iovec> copy_;
};

} // namespace coir
