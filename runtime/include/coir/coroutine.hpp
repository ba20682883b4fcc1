// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/cancellation.hpp>
#include <coir/fiber.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace coir {

class coroutine_state;

struct coroutine_options {
    std::size_t stack_size = 0; ///< bytes of address space, guard page included; 0: `default_stack_size()`
};

/// Thrown out of a coroutine's `yield` when the coroutine is destroyed before its end. Let it pass: RAII does the
/// cleaning. Each further `yield` throws it again.
class coroutine_destroyed : public cancelled {
public:
    const char* what() const noexcept override;
};

/// What every coroutine is, whatever it passes: an execution on a stack of its own. Values travel by address.
class basic_coroutine {
public:
    basic_coroutine(const basic_coroutine&) = delete;
    basic_coroutine& operator=(const basic_coroutine&) = delete;
    basic_coroutine(basic_coroutine&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
    basic_coroutine& operator=(basic_coroutine&& other) noexcept;

    /// Whether its function has ended. Of one that has been moved from, too.
    bool done() const noexcept;
    /// It can be resumed. False once it has ended, and while it runs or waits for one that it has resumed itself.
    explicit operator bool() const noexcept;

protected:
    basic_coroutine(const coroutine_options& options, const fiber_entry& entry, void* callable);
    ~basic_coroutine();

    /// Where the callable is now.
    void* callable() const noexcept;

    // What passes is an address, of something that the giver keeps until it is resumed. From outside:
    /// Runs it until it yields or ends. Throws what it ended with. With a failure, its `yield` throws that.
    static void* resume(coroutine_state* to, void* passing, std::exception_ptr failure = nullptr);

    // From inside:
    static void* first_value(coroutine_state& self) noexcept;
    /// Gives the thread back to who resumed, and returns what the next `resume` passes.
    static void* yield(coroutine_state& self, void* passing);
    /// `to` goes on in our place, and is what our resumer waits for from now on.
    static void* transfer(coroutine_state& self, coroutine_state* to, void* passing);
    static void set_last_value(coroutine_state& self, void* passing) noexcept;

    coroutine_state* state_;
};

template <class Signature> class coroutine;

/// A function that can stop in the middle and go on later, on a stack of its own: from any depth of calls, through
/// code that knows nothing of it. `Out(In)` is what it passes: `resume` takes an In and returns an Out. Either may be
/// void or a reference.
///
/// The function gets a `self`, with which it yields, and the first In. What it returns is the last Out. Resume it in a
/// fiber or on a plain thread. If it suspends (sleeps, locks, does I/O), the whole fiber that resumed it suspends. It
/// belongs to the thread that resumes it first; there any fiber may resume it, one at a time. Its timeouts and shields
/// are its own; outside of them are those of who resumes it.
///
///     coir::coroutine<int(int)> adder{[](auto& self, int number) {
///         for (int sum = 0;;)
///             number = self.yield(sum += number);
///     }};
///     adder.resume(3);        // 3
///     adder.resume(4);        // 7
template <class Out, class... In> class coroutine<Out(In...)> : public basic_coroutine {
    static_assert(sizeof...(In) <= 1, "one value at a time: pass a struct or a tuple");

    template <class T, class...> struct first {
        using type = T;
    };
    using in_type = typename first<In..., void>::type;

public:
    /// The coroutine as its own function sees it. Stays where it is.
    class self_type {
    public:
        self_type(const self_type&) = delete;
        self_type& operator=(const self_type&) = delete;

        /// Ends the `resume` that we run in, which returns `value`. Returns what the next one passes. Throws what it is
        /// made to throw: see `resume_throwing` and `coroutine_destroyed`.
        template <class Value = Out>
        in_type yield(Value&& value)
            requires(!std::is_void_v<Out>)
        {
            return pass(std::forward<Value>(value),
                        [&](void* passing) { return basic_coroutine::yield(*state_, passing); });
        }
        in_type yield()
            requires std::is_void_v<Out>
        {
            return receive<in_type>(basic_coroutine::yield(*state_, nullptr));
        }

        /// `other` goes on in our place: who has resumed us gets what it yields or returns next. Returns when somebody
        /// resumes us again, or transfers to us. Throws std::logic_error if `other` cannot be resumed.
        template <class... OtherIn> in_type transfer(coroutine<Out(OtherIn...)>& other, OtherIn... value)
        {
            return receive<in_type>(
                basic_coroutine::transfer(*state_, coroutine::state_of(other), address_of(value...)));
        }

    private:
        friend class coroutine;
        explicit self_type(coroutine_state* state) noexcept : state_{state} {}

        template <class Value> in_type pass(Value&& value, auto&& give)
        {
            if constexpr (std::is_reference_v<Out> || std::is_same_v<std::remove_cvref_t<Value>, Out>) {
                if constexpr (std::is_lvalue_reference_v<Value> && !std::is_reference_v<Out>) {
                    Out copy(value);
                    return receive<in_type>(give(address_of(copy)));
                } else {
                    Out&& reference = std::forward<Value>(value);
                    return receive<in_type>(give(address_of(reference)));
                }
            } else {
                Out converted(std::forward<Value>(value));
                return receive<in_type>(give(address_of(converted)));
            }
        }

        coroutine_state* state_;
    };

    /// Does not run `function` yet. Throws std::system_error when no stack can be had.
    template <class Function>
        requires(!std::is_base_of_v<basic_coroutine, std::remove_cvref_t<Function>>)
    // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): the line above keeps it off
    explicit coroutine(Function&& function) : coroutine{coroutine_options{}, std::forward<Function>(function)}
    {
    }
    template <class Function>
    coroutine(const coroutine_options& options, Function&& function)
        : coroutine{options, body<std::decay_t<Function>>{std::forward<Function>(function)}, 0}
    {
    }
    coroutine(coroutine&&) noexcept = default;
    coroutine& operator=(coroutine&&) noexcept = default;
    /// Unwinds its stack if it has not ended: its `yield` throws `coroutine_destroyed`. Suspends as its destructors do.
    ~coroutine() = default;

    /// Runs the function until it yields or returns, and returns what it passes. Suspends as the function does. Throws
    /// what the function ends with, and std::logic_error if it cannot be resumed: it has ended, it runs already, or it
    /// belongs to another thread.
    Out resume(In... value) { return receive<Out>(basic_coroutine::resume(state_, address_of(value...))); }

    /// As `resume`, but the function's `yield` throws `failure`. If it has not begun, it never will.
    Out resume_throwing(const std::exception_ptr& failure)
    {
        return receive<Out>(basic_coroutine::resume(state_, nullptr, failure));
    }

private:
    template <class> friend class coroutine;

    template <class Body>
    coroutine(const coroutine_options& options, Body&& body, int)
        : basic_coroutine{options, fiber_entry::of<Body>(), &body}
    {
        static_cast<Body*>(callable())->state = state_;
    }

    template <class Other> static coroutine_state* state_of(coroutine<Other>& other) noexcept { return other.state_; }
    static constexpr void* address_of() noexcept { return nullptr; }
    template <class T> static void* address_of(T& value) noexcept
    {
        return const_cast<std::remove_cv_t<T>*>(std::addressof(value));
    }
    template <class T> static T receive(void* passed)
    {
        if constexpr (!std::is_void_v<T>)
            return static_cast<T&&>(*static_cast<std::remove_reference_t<T>*>(passed));
    }

    /// What runs on the coroutine's stack. The last value stays in it until the coroutine is destroyed.
    template <class Function> struct body {
        explicit body(Function&& made) : function{std::move(made)} {}
        explicit body(const Function& made) : function{made} {}

        void operator()()
        {
            self_type self{state};
            const auto call = [&]() -> decltype(auto) {
                if constexpr (std::is_void_v<in_type>)
                    return std::invoke(*function, self);
                else
                    return std::invoke(*function, self, receive<in_type>(basic_coroutine::first_value(*state)));
            };
            if constexpr (std::is_void_v<Out>) {
                call();
            } else if constexpr (std::is_void_v<decltype(call())>) {
                call(); // it yields for ever, or throws
                std::terminate();
            } else if constexpr (std::is_reference_v<Out>) {
                Out&& reference = call();
                basic_coroutine::set_last_value(*state, address_of(reference));
            } else {
                last.emplace(call());
                basic_coroutine::set_last_value(*state, &*last);
            }
            function.reset();
        }

        coroutine_state* state = nullptr;
        std::optional<Function> function;
        std::optional<std::conditional_t<std::is_void_v<Out> || std::is_reference_v<Out>, bool, Out>> last;
    };
};

} // namespace coir
