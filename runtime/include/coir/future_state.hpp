// SPDX-License-Identifier: BSL-1.0
#pragma once
// What a promise and its futures share; for promise.hpp, future.hpp, packaged_task.hpp and async.hpp.
//
//     promise ----> state <---- future, shared_future ...      counted references; the last one deletes it
//
// `claim` decides who provides the result, `publish` makes it visible and wakes who waits. Between the two the result
// is written without a lock: it is the user's code that moves it.
#include <coir/cancellation.hpp>
#include <coir/wait_queue.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace coir {

// A program ports by changing a namespace: these are std's own.
using std::future_errc;
using std::future_error;
using std::future_status;
using std::launch;

class ready_case;

/// All of the shared state but the value.
class future_state_base {
public:
    future_state_base(const future_state_base&) = delete;
    future_state_base& operator=(const future_state_base&) = delete;
    virtual ~future_state_base();

    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;

    /// For `get_future`: throws future_already_retrieved the second time.
    void retrieve();

    /// Suspends until there is a result; calls a deferred function.
    void wait();
    /// Suspends until there is a result or the deadline has passed. Does not call a deferred function.
    future_status wait_before(clock::time_point deadline);
    /// After `wait`: throws the exception if the result is one.
    void rethrow_failure() const
    {
        if (failure_)
            std::rethrow_exception(failure_);
    }

    /// Throws promise_already_satisfied if somebody else provides the result.
    void claim();
    void unclaim() noexcept { claimed_.store(false, std::memory_order_release); }
    /// After `claim`. Never suspends. The caller must not rely on the state any more, unless it has a reference.
    void publish(std::exception_ptr failure = nullptr) noexcept;
    void set_exception(std::exception_ptr failure);
    /// The one who was to provide the result is gone: broken_promise, unless there is a result.
    void abandon() noexcept;

    static std::exception_ptr broken_promise();

protected:
    enum class kind : std::uint8_t { promised, deferred };
    explicit future_state_base(kind what = kind::promised) noexcept : deferred_{what == kind::deferred} {}

private:
    friend class ready_case;
    virtual void run_deferred() {}
    /// The result is there: wait for what has to end before it may be used.
    virtual void settle() noexcept {}

    std::atomic<std::uint32_t> references_{1};
    std::atomic<bool> retrieved_{false};
    std::atomic<bool> claimed_{false};
    // Read under the lock only, so that `publish` has let go of the state when somebody sees that it is ready.
    spin_lock guard_;
    bool ready_ = false;
    bool deferred_; ///< a function is there that nobody has called yet
    wait_queue waiters_;
    std::exception_ptr failure_;
};

template <class T> class future_state : public future_state_base {
public:
    using future_state_base::future_state_base;

    template <class... Value> void store(Value&&... value)
    {
        if constexpr (std::is_reference_v<T>)
            value_ = (std::addressof(value), ...);
        else if constexpr (!std::is_void_v<T>)
            value_.emplace(std::forward<Value>(value)...);
    }
    template <class... Value> void set_value(Value&&... value)
    {
        claim();
        try {
            store(std::forward<Value>(value)...);
        } catch (...) {
            unclaim();
            throw;
        }
        publish();
    }
    auto& value() noexcept { return *value_; }

    /// After `claim`: calls the function for the result. A cancellation is not one: it breaks the promise and goes on
    /// to unwind the fiber, as it does where a promise stands on the stack.
    template <class Function, class... Args> void run(Function&& function, Args&&... args)
    {
        try {
            if constexpr (std::is_void_v<T>)
                std::invoke(std::forward<Function>(function), std::forward<Args>(args)...);
            else
                store(std::invoke(std::forward<Function>(function), std::forward<Args>(args)...));
        } catch (const timed_out&) {
            return publish(std::current_exception());
        } catch (const cancelled&) {
            publish(broken_promise());
            throw;
        } catch (...) {
            return publish(std::current_exception());
        }
        publish();
    }

private:
    using stored = std::conditional_t<
        std::is_reference_v<T>, std::add_pointer_t<T>,
        std::optional<std::conditional_t<std::is_void_v<T> || std::is_reference_v<T>, std::monostate, T>>>;
    stored value_{};
};

/// A counted reference to a state. Empty is "no state".
template <class State> class state_ref {
public:
    state_ref() noexcept = default;
    explicit state_ref(State* owned) noexcept : state_{owned} {} ///< takes over one reference
    state_ref(const state_ref& other) noexcept : state_{other.state_}
    {
        if (state_)
            state_->retain();
    }
    template <class Derived> explicit state_ref(const state_ref<Derived>& other) noexcept : state_{other.state_}
    {
        if (state_)
            state_->retain();
    }
    state_ref(state_ref&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
    state_ref& operator=(state_ref other) noexcept
    {
        std::swap(state_, other.state_);
        return *this;
    }
    ~state_ref()
    {
        if (state_)
            state_->release();
    }

    explicit operator bool() const noexcept { return state_ != nullptr; }
    /// Throws no_state.
    State& operator*() const
    {
        if (!state_)
            throw future_error{future_errc::no_state};
        return *state_;
    }
    State* operator->() const { return &**this; }

private:
    template <class> friend class state_ref;
    State* state_ = nullptr;
};

} // namespace coir
