// SPDX-License-Identifier: BSL-1.0
#pragma once
// What use_fiber awaits with, but for the types of the result.
//
//     stack of the waiting fiber                                      Asio
//     asio_operation   <---- handler (a pointer) ------------------- the operation, and where it waits
//       memory         <---- its allocator: the operation itself is here
//       slot           <---- what the operation wants called when it is to be cancelled
//
// All of it is the fiber's stack, so the fiber stays until nobody refers to it any more: until the handler has been
// called or destroyed, an emission of the cancellation that is on its way has been made, and the memory is free.
#include <coir/wait_queue.hpp>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace coir {

class asio_operation {
public:
    /// `elsewhere`: another thread is known to be going to complete it; matters where time is virtual.
    explicit asio_operation(bool elsewhere) noexcept : elsewhere_{elsewhere} {}
    asio_operation(const asio_operation&) = delete;
    asio_operation& operator=(const asio_operation&) = delete;
    ~asio_operation();

    // For the handler, on any thread:
    /// The result is there. The caller must not rely on the operation any more.
    void complete() noexcept { finish(false); }
    /// The handler is destroyed without having been called.
    void abandon() noexcept { finish(true); }
    void* allocate(std::size_t bytes, std::size_t alignment);
    void deallocate(void* memory, std::size_t alignment) noexcept;

    // For the one who waits:
    /// Throws std::logic_error in a handler, which must not wait, and what a wait that starts now would throw.
    static void check_may_wait();
    /// Suspends until it has completed, or blocks a plain thread. Any other cause than `notified`: it is still under
    /// way, and may be asked to end.
    wake_cause wait() noexcept;
    /// Suspends until nobody refers to it any more. Cannot be interrupted.
    void wait_until_over() noexcept;
    bool abandoned() const noexcept { return abandoned_; }
    /// Asks it to end: on the executor that it runs on, and only while it is under way.
    void emit() noexcept;
    /// Around an `emit` that is left to others. False if it has completed already.
    bool begin_emission() noexcept;
    void end_emission() noexcept;

    // For its slot:
    class cancellation_handler {
    public:
        cancellation_handler() = default;
        cancellation_handler(const cancellation_handler&) = delete;
        cancellation_handler& operator=(const cancellation_handler&) = delete;
        virtual ~cancellation_handler() = default;
        virtual void call(boost::asio::cancellation_type_t type) = 0;
    };
    template <class Handler, class... Args> Handler& install(Args&&... args);
    void uninstall() noexcept;
    bool installed() const noexcept { return cancel_ != nullptr; }
    boost::asio::cancellation_slot slot_of_asio() noexcept { return signal_.slot(); }

private:
    template <class Handler> struct installed_handler;
    void finish(bool abandoned) noexcept;
    bool memory_in_use() const noexcept;
    wake_cause park(wait_queue::guard& held, bool interruptible) noexcept;

    // Enough for the operations of Asio itself; what is larger comes from the heap. Two places, because a cancellation
    // may be on its way while the operation has the first.
    struct place {
        std::atomic<bool> used{false};
        alignas(std::max_align_t) std::byte bytes[320];
    };

    const bool elsewhere_;
    spin_lock guard_; ///< for the next four
    bool done_ = false;
    bool abandoned_ = false;
    bool emitting_ = false;
    wait_queue waiter_;

    cancellation_handler* cancel_ = nullptr;
    boost::asio::cancellation_signal signal_;
    alignas(std::max_align_t) std::byte cancel_memory_[96];
    std::array<place, 2> places_;
};

/// The handler's allocator.
template <class T> class asio_memory {
public:
    using value_type = T;
    explicit asio_memory(asio_operation& operation) noexcept : operation_{&operation} {}
    template <class U> asio_memory(const asio_memory<U>& other) noexcept : operation_{other.operation_} {}

    T* allocate(std::size_t count)
    {
        if (count > static_cast<std::size_t>(-1) / sizeof(T))
            throw std::bad_array_new_length{};
        return static_cast<T*>(operation_->allocate(count * sizeof(T), alignof(T)));
    }
    void deallocate(T* memory, std::size_t) noexcept { operation_->deallocate(memory, alignof(T)); }
    template <class U> bool operator==(const asio_memory<U>& other) const noexcept
    {
        return operation_ == other.operation_;
    }

private:
    template <class> friend class asio_memory;
    asio_operation* operation_;
};

/// The handler's cancellation slot. One of our own, because what is installed in Asio's is allocated.
class asio_slot {
public:
    explicit asio_slot(asio_operation& operation) noexcept : operation_{&operation} {}

    template <class Handler, class... Args> Handler& emplace(Args&&... args)
    {
        return operation_->install<Handler>(std::forward<Args>(args)...);
    }
    template <class Handler> std::decay_t<Handler>& assign(Handler&& handler)
    {
        return emplace<std::decay_t<Handler>>(std::forward<Handler>(handler));
    }
    void clear() noexcept { operation_->uninstall(); }
    bool is_connected() const noexcept { return true; }
    bool has_handler() const noexcept { return operation_->installed(); }
    friend bool operator==(const asio_slot&, const asio_slot&) noexcept = default;
    /// For code that takes every slot to be Asio's own, such as Beast's.
    operator boost::asio::cancellation_slot() const noexcept // NOLINT(google-explicit-constructor)
    {
        return operation_->slot_of_asio();
    }

private:
    asio_operation* operation_;
};

/// An `emit` to be dispatched, after `begin_emission`.
class asio_emission {
public:
    using allocator_type = asio_memory<std::byte>;

    explicit asio_emission(asio_operation& operation) noexcept : operation_{&operation}, memory_{operation} {}
    asio_emission(asio_emission&& other) noexcept
        : operation_{std::exchange(other.operation_, nullptr)}, memory_{other.memory_}
    {
    }
    asio_emission& operator=(asio_emission&&) = delete;
    ~asio_emission()
    {
        if (operation_)
            operation_->end_emission();
    }

    allocator_type get_allocator() const noexcept { return memory_; }
    void operator()()
    {
        operation_->emit();
        std::exchange(operation_, nullptr)->end_emission();
    }

private:
    asio_operation* operation_;
    allocator_type memory_;
};

// ---------------------------------------------------------------------------------------------------------------------

template <class Handler> struct asio_operation::installed_handler final : cancellation_handler {
    template <class... Args> explicit installed_handler(Args&&... args) : handler(std::forward<Args>(args)...) {}
    void call(boost::asio::cancellation_type_t type) override { handler(type); }
    Handler handler;
};

template <class Handler, class... Args> Handler& asio_operation::install(Args&&... args)
{
    using stored = installed_handler<Handler>;
    uninstall();
    // NOLINTNEXTLINE(misc-redundant-expression): not for every Handler
    constexpr bool fits = sizeof(stored) <= sizeof cancel_memory_ && alignof(stored) <= alignof(std::max_align_t);
    stored* made = nullptr;
    if constexpr (fits)
        made = ::new (static_cast<void*>(cancel_memory_)) stored(std::forward<Args>(args)...);
    else
        made = new stored(std::forward<Args>(args)...);
    cancel_ = made;
    return made->handler;
}

} // namespace coir
