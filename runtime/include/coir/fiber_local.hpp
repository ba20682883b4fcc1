// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <cstddef>
#include <utility>

namespace coir {

/// Names one value in every fiber, and in every plain thread. What fiber_local is made of.
class fiber_local_slot {
public:
    fiber_local_slot() noexcept;
    /// The caller's value; null if it has none.
    void* get() const noexcept;
    /// Sets the caller's value, which `destroy` is called for when the fiber or thread ends.
    void set(void* value, void (*destroy)(void*)) const;

private:
    std::size_t index_;
};

/// thread_local for fibers: each fiber has a T of its own, made when it first asks and destroyed, in that fiber, when
/// it ends. On a plain thread it is the thread's. Meant for namespace scope: its place is never given back. Never
/// suspends itself.
///
///     coir::fiber_local<std::string> request_id;
///     request_id.get() = "42";
template <class T> class fiber_local {
public:
    T& get() const
    {
        if (auto* value = slot_.get())
            return *static_cast<T*>(value);
        auto* made = new T{};
        slot_.set(made, [](void* value) { delete static_cast<T*>(value); });
        return *made;
    }
    T& operator*() const { return get(); }
    T* operator->() const { return &get(); }

private:
    fiber_local_slot slot_;
};

} // namespace coir
