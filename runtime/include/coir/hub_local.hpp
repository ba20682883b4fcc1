// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <cstddef>
#include <memory>

namespace coir {

class scheduler;

/// The hub whose loop runs on this thread, null without one: for who has to know whether it is the same as before.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local scheduler* current_scheduler;

/// What hub_local keeps in a hub.
struct hub_object {
    hub_object() = default;
    hub_object(const hub_object&) = delete;
    hub_object& operator=(const hub_object&) = delete;
    virtual ~hub_object() = default;
};

/// A place for one object in every hub. Eight in a program at most; they are never given back.
class hub_slot {
public:
    hub_slot();
    /// The calling hub's object, null if it has none yet. The caller must run on a hub.
    hub_object* get() const noexcept;
    void set(std::unique_ptr<hub_object> object) const noexcept;

private:
    std::size_t index_;
};

/// One T for each hub: made when first asked for, destroyed with the hub and before its driver. For layers that keep
/// state beside the scheduler, such as a reactor. T derives from hub_object. Never suspends.
///
///     static const coir::hub_local<reactor> reactors;
///     reactors.get().watch(descriptor);
template <class T> class hub_local {
public:
    T& get() const
    {
        if (auto* object = slot_.get())
            return static_cast<T&>(*object);
        auto made = std::make_unique<T>();
        auto& result = *made;
        slot_.set(std::move(made));
        return result;
    }
    /// Null if this hub's has not been made yet.
    T* find() const noexcept { return static_cast<T*>(slot_.get()); }

private:
    hub_slot slot_;
};

} // namespace coir
