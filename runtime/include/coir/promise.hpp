// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/future.hpp>

namespace coir {

/// What every promise has, whatever its result.
template <class T> class basic_promise {
public:
    basic_promise() : state_{new future_state<T>} {}
    basic_promise(basic_promise&&) noexcept = default;
    basic_promise& operator=(basic_promise&& other) noexcept
    {
        basic_promise{std::move(other)}.swap(*this);
        return *this;
    }
    /// Breaks the promise, if it has not been kept: the future throws future_error (broken_promise).
    ~basic_promise()
    {
        if (state_)
            state_->abandon();
    }

    /// Once. Throws future_error (future_already_retrieved, no_state).
    future<T> get_future() { return future<T>::of(state_); }

    /// Never suspends. Throws future_error (promise_already_satisfied, no_state).
    void set_exception(std::exception_ptr failure) { state_->set_exception(std::move(failure)); }

    void swap(basic_promise& other) noexcept { std::swap(state_, other.state_); }
    friend void swap(basic_promise& left, basic_promise& right) noexcept { left.swap(right); }

protected:
    state_ref<future_state<T>> state_;
};

/// std::promise: provides the result of a future, once, from any fiber or thread.
///
/// Setting never suspends, and throws future_error (promise_already_satisfied, no_state) or what moving the value
/// throws. There is no set_value_at_thread_exit: what a fiber leaves behind is gone when it has been joined.
///
///     coir::promise<int> answer;
///     coir::fiber thinker{[&] { answer.set_value(42); }};
///     CHECK(answer.get_future().get() == 42);
template <class T> class promise : public basic_promise<T> {
public:
    void set_value(const T& value) { this->state_->set_value(value); }
    void set_value(T&& value) { this->state_->set_value(std::move(value)); }
};

template <class T> class promise<T&> : public basic_promise<T&> {
public:
    void set_value(T& value) { this->state_->set_value(value); }
};

template <> class promise<void> : public basic_promise<void> {
public:
    void set_value() { state_->set_value(); }
};

} // namespace coir
