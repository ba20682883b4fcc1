// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

namespace coir {

/// One bound value, in a list from the newest to the oldest. Lists share their tails, as the fibers of a family do;
/// what has been linked never changes.
class context_binding {
public:
    context_binding(const context_binding&) = delete;
    context_binding& operator=(const context_binding&) = delete;
    virtual ~context_binding() = default;

    /// What is bound here and now: of the calling fiber, coroutine or thread. The newest; null: nothing.
    static const context_binding* newest() noexcept;
    /// Makes `list`, of which the caller gives a reference away, what is bound here. Returns what was; with it, the
    /// reference that was held.
    static const context_binding* exchange(const context_binding* list) noexcept;
    static const context_binding* retain(const context_binding* list) noexcept;
    static void release(const context_binding* list) noexcept;

    const context_binding* older() const noexcept { return older_; }
    const void* key() const noexcept { return key_; }

protected:
    explicit context_binding(const void* key) noexcept : key_{key} {}

private:
    template <class> friend class context_value;
    const context_binding* older_ = nullptr;
    const void* key_;
    mutable std::atomic<std::uint32_t> references_{1};
};

/// A value that follows the work: bound for the extent of a scope, seen there and in the fibers that are started there,
/// for as long as they live. For what every layer would have to pass on otherwise: a request's number, a tenant, a
/// trace.
///
///     coir::context_value<int> request_id;                        // at namespace scope
///     coir::context_value<int>::binding bound{request_id, 42};
///     coir::fiber worker{[] { log("request", request_id.get()); }};   // 42
///
/// A fiber starts with what is bound where it is started, and later bindings of either are not seen by the other. So
/// does a coroutine where it is first resumed. Starting a fiber copies nothing, and allocates nothing for it; a binding
/// allocates. Bound values are constant, are read by any thread that has inherited them, and are destroyed by the last
/// of these. Never suspends.
template <class T> class context_value {
public:
    context_value() = default;
    /// With a value for where nothing is bound.
    explicit context_value(T otherwise) : otherwise_{std::move(otherwise)} {}
    context_value(const context_value&) = delete;
    context_value& operator=(const context_value&) = delete;

    /// The innermost binding's value, or the one for where nothing is bound; null if there is none either.
    const T* find() const noexcept
    {
        for (const auto* each = context_binding::newest(); each; each = each->older())
            if (each->key() == this)
                return &static_cast<const node*>(each)->value;
        return otherwise_ ? &*otherwise_ : nullptr;
    }
    /// Throws std::logic_error if there is none.
    const T& get() const
    {
        if (const T* found = find())
            return *found;
        throw std::logic_error{"coir::context_value: nothing is bound"};
    }
    const T& operator*() const { return get(); }
    const T* operator->() const { return &get(); }

    /// Binds a value while it lives. Lives on the stack: what is bound last is unbound first.
    class [[nodiscard]] binding {
    public:
        template <class... Args> explicit binding(const context_value& which, Args&&... args)
        {
            auto* made = new node{&which, std::forward<Args>(args)...};
            made->older_ = context_binding::exchange(made); // which keeps the reference that was held
        }
        binding(const binding&) = delete;
        binding& operator=(const binding&) = delete;
        ~binding()
        {
            const auto* older = context_binding::newest()->older();
            context_binding::release(context_binding::exchange(context_binding::retain(older)));
        }
    };

private:
    struct node final : context_binding {
        template <class... Args>
        explicit node(const void* key, Args&&... args) : context_binding{key}, value(std::forward<Args>(args)...)
        {
        }
        const T value;
    };

    std::optional<T> otherwise_;
};

/// What is bound here and now, to take along to where nobody is started: a callback, a queue of jobs, another thread.
///
///     queue.push([bound = coir::context_snapshot{}] { bound.run([] { ... }); });
class context_snapshot {
public:
    context_snapshot() noexcept : list_{context_binding::retain(context_binding::newest())} {}
    context_snapshot(const context_snapshot& other) noexcept : list_{context_binding::retain(other.list_)} {}
    context_snapshot(context_snapshot&& other) noexcept : list_{std::exchange(other.list_, nullptr)} {}
    context_snapshot& operator=(context_snapshot other) noexcept
    {
        std::swap(list_, other.list_);
        return *this;
    }
    ~context_snapshot() { context_binding::release(list_); }

    /// Calls `function` with these values bound instead of what is bound here. Suspends as it does.
    template <class Function> decltype(auto) run(Function&& function) const
    {
        const struct swapped {
            explicit swapped(const context_binding* list) noexcept : outside{context_binding::exchange(list)} {}
            ~swapped() { context_binding::release(context_binding::exchange(outside)); }
            const context_binding* outside;
        } inside{context_binding::retain(list_)};
        return std::invoke(std::forward<Function>(function));
    }

private:
    const context_binding* list_;
};

} // namespace coir
