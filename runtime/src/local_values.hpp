// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <cstddef>
#include <vector>

namespace coir {

/// The values that one fiber, or one plain thread, has in fiber_local variables.
class local_values {
public:
    local_values() = default;
    local_values(const local_values&) = delete;
    local_values& operator=(const local_values&) = delete;
    ~local_values() { destroy_all(); }

    void* get(std::size_t index) const noexcept { return index < values_.size() ? values_[index].value : nullptr; }
    void set(std::size_t index, void* value, void (*destroy)(void*));
    /// Destroys the values, newest place first; and those that their destructors make meanwhile.
    void destroy_all() noexcept
    {
        if (!values_.empty())
            destroy_each();
    }

private:
    void destroy_each() noexcept;

    struct entry {
        void* value = nullptr;
        void (*destroy)(void*) = nullptr;
    };
    std::vector<entry> values_;
};

} // namespace coir
