// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/coroutine.hpp>

#include <iterator>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>

namespace coir {

/// A range whose elements a function yields, from any depth of calls: std::generator without co_yield, and without a
/// generator for each level of a recursion.
///
///     void walk(const node* tree, auto& yield)
///     {
///         if (tree) {
///             walk(tree->left, yield);
///             yield(tree->value);
///             walk(tree->right, yield);
///         }
///     }
///     coir::generator<const int&> values{[&](auto& yield) { walk(tree, yield); }};
///     for (int value : values) ...
///
/// An input range, to be gone through once; it is no view, so views of an lvalue refer to it. As with std::generator,
/// `*i` is a T&& unless T is a reference. The function runs when the next element is wanted, and what it throws comes
/// out there; its end is the end of the range. It may suspend: see `coroutine`, whose rules of fibers and threads are
/// these.
template <class T> class generator {
public:
    using reference = std::conditional_t<std::is_reference_v<T>, T, T&&>;
    using value_type = std::remove_cvref_t<T>;

    /// What the function is given.
    class yielder {
    public:
        yielder(const yielder&) = delete;
        yielder& operator=(const yielder&) = delete;

        /// Hands an element to who goes through the range. Returns when the next is wanted. The element need not live
        /// longer than that.
        void operator()(reference element) { self_.yield(std::addressof(element)); }
        void operator()(const value_type& element)
            requires(!std::is_reference_v<T> && std::copy_constructible<value_type>)
        {
            value_type copy(element);
            self_.yield(std::addressof(copy));
        }

        /// Yields every element of a range, such as another generator.
        template <std::ranges::input_range Range> void from(Range&& range)
        {
            for (auto&& element : range)
                (*this)(std::forward<decltype(element)>(element));
        }

    private:
        friend class generator;
        using self_type = typename coroutine<std::add_pointer_t<reference>()>::self_type;
        explicit yielder(self_type& self) noexcept : self_{self} {}
        self_type& self_;
    };

    template <class Function>
        requires std::invocable<std::decay_t<Function>&, yielder&>
    // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): the line above keeps it off
    explicit generator(Function&& function) : generator{coroutine_options{}, std::forward<Function>(function)}
    {
    }
    template <class Function>
        requires std::invocable<std::decay_t<Function>&, yielder&>
    generator(const coroutine_options& options, Function&& function)
        : source_{options, [body = std::decay_t<Function>(std::forward<Function>(function))](auto& self) mutable {
                      yielder yield{self};
                      body(yield);
                      return static_cast<std::add_pointer_t<reference>>(nullptr);
                  }}
    {
    }
    generator(generator&&) noexcept = default;
    generator& operator=(generator&&) noexcept = default;
    /// Unwinds the function if it has not ended: `yield` throws `coroutine_destroyed`.
    ~generator() = default;

    class iterator {
    public:
        using value_type = typename generator::value_type;
        using difference_type = std::ptrdiff_t;

        iterator(iterator&&) noexcept = default;
        iterator& operator=(iterator&&) noexcept = default;

        reference operator*() const noexcept { return static_cast<reference>(*from_->element_); }
        auto* operator->() const noexcept
            requires std::is_lvalue_reference_v<reference>
        {
            return from_->element_;
        }
        /// Suspends as the function does, and throws what it throws.
        iterator& operator++()
        {
            from_->advance();
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return from_->element_ == nullptr; }

    private:
        friend class generator;
        explicit iterator(generator& from) noexcept : from_{&from} {}
        generator* from_;
    };

    /// Runs the function to its first element. Once only: a second call is where the first iterator is.
    iterator begin()
    {
        if (!std::exchange(begun_, true))
            advance();
        return iterator{*this};
    }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    void advance()
    {
        element_ = nullptr; // and so it stays if the function throws
        element_ = source_.resume();
    }

    coroutine<std::add_pointer_t<reference>()> source_;
    std::add_pointer_t<reference> element_ = nullptr;
    bool begun_ = false;
};

} // namespace coir
