// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/asio_operation.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/outside_fiber.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>
#include <boost/system/error_code.hpp>

#include <exception>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace coir {

class fiber_error_token;

/// A completion token for any asynchronous operation of Boost.Asio, or made as Asio's are: suspends the calling fiber
/// until the operation has completed, and returns its result.
///
///     coir::run([] {
///         asio::steady_timer timer{coir::this_hub_io_context(), 10ms};
///         timer.async_wait(coir::use_fiber);
///         auto size = socket.async_read_some(asio::buffer(data), coir::use_fiber);
///         auto more = socket.async_read_some(asio::buffer(data), coir::use_fiber[error]);
///         auto [failure, rest] = asio::async_read(socket, asio::buffer(data), asio::as_tuple(coir::use_fiber));
///     });
///
/// Suspends. Returns what the handler is given: nothing, a value, or a std::tuple of several. A first argument that is
/// an error is thrown: error_code as std::system_error, std::exception_ptr as what it holds. `use_fiber[error]` stores
/// the code instead; Asio's as_tuple, redirect_error and bind_* do as they say. If Asio destroys the handler without
/// calling it, because the io_context is destroyed, it throws std::system_error(operation_aborted), whatever the form.
///
/// Cancelled, or past the deadline of a surrounding `timeout`, the fiber asks the operation to end, by its cancellation
/// slot and with every cancellation_type at once, and waits until it has: what the operation uses may be on this stack.
/// Then it throws `cancelled` or `timed_out`, unless the operation has succeeded all the same: a value that has arrived
/// is returned, and the next wait throws. So does a fiber whose error went elsewhere, by redirect_error: it cannot
/// know. An operation without cancellation, or with a slot of yours (bind_cancellation_slot), is waited for.
///
/// The operation may belong to any executor and complete on any thread. Asio's rules hold as for any token: if several
/// threads run the executor, an operation made of several steps needs a strand. The operation and its steps run outside
/// of fibers. They find their memory on the fiber's stack and nothing is posted in order to wake the fiber. On a plain
/// thread it blocks; the operation must be run by another then. Throws std::logic_error in a handler on a hub.
class use_fiber_t {
public:
    constexpr use_fiber_t() noexcept = default;

    /// Stores the error, or its absence, instead of throwing it. `cancelled` and `timed_out` are still thrown.
    constexpr fiber_error_token operator[](boost::system::error_code& error) const noexcept;

    /// An executor whose I/O objects use this token where none is given.
    template <class Executor> struct executor_with_default : Executor {
        using default_completion_token_type = use_fiber_t;
        template <class Other>
            requires(!std::is_same_v<std::remove_cvref_t<Other>, executor_with_default> &&
                     std::is_convertible_v<Other, Executor>)
        // As Asio's own: implicit, and `requires` above leaves copies to the others.
        // NOLINTNEXTLINE(google-explicit-constructor, bugprone-forwarding-reference-overload)
        executor_with_default(Other&& other) noexcept : Executor(std::forward<Other>(other))
        {
        }
    };
    /// The type of an I/O object with that default.
    ///
    ///     using timer = coir::use_fiber_t::as_default_on_t<asio::steady_timer>;
    ///     timer{coir::this_hub_io_context(), 10ms}.async_wait();
    template <class Object>
    using as_default_on_t =
        typename Object::template rebind_executor<executor_with_default<typename Object::executor_type>>::other;
    template <class Object> static as_default_on_t<std::decay_t<Object>> as_default_on(Object&& object)
    {
        return as_default_on_t<std::decay_t<Object>>(std::forward<Object>(object));
    }
};

/// See use_fiber_t.
inline constexpr use_fiber_t use_fiber;

/// `use_fiber[error]`.
class fiber_error_token {
public:
    constexpr explicit fiber_error_token(boost::system::error_code& error) noexcept : error_{&error} {}
    constexpr boost::system::error_code* error() const noexcept { return error_; }

private:
    boost::system::error_code* error_;
};

constexpr fiber_error_token use_fiber_t::operator[](boost::system::error_code& error) const noexcept
{
    return fiber_error_token{error};
}

// ---- the result -----------------------------------------------------------------------------------------------------

/// What a handler's arguments are to the one who waits: without the error, and one value on its own.
template <class... Args> struct fiber_result {
    using type = std::tuple<Args...>;
    static type take(std::tuple<Args...>&& all) { return std::move(all); }
};
template <> struct fiber_result<> {
    using type = void;
    static void take(std::tuple<>&&) noexcept {}
};
template <class Value> struct fiber_result<Value> {
    using type = Value;
    static type take(std::tuple<Value>&& all) { return std::get<0>(std::move(all)); }
};
template <class Error, class... Args> struct fiber_result_behind_error {
    using type = typename fiber_result<Args...>::type;
    static type take(std::tuple<Error, Args...>&& all)
    {
        return std::apply(
            [](auto&, auto&... values) {
                return fiber_result<Args...>::take(std::tuple<Args...>{std::move(values)...});
            },
            all);
    }
};
template <class... Args>
struct fiber_result<boost::system::error_code, Args...>
    : fiber_result_behind_error<boost::system::error_code, Args...> {};
template <class... Args>
struct fiber_result<std::exception_ptr, Args...> : fiber_result_behind_error<std::exception_ptr, Args...> {};
template <> struct fiber_result<boost::system::error_code> : fiber_result_behind_error<boost::system::error_code> {};
template <> struct fiber_result<std::exception_ptr> : fiber_result_behind_error<std::exception_ptr> {};

/// Whether a completion says that the operation has failed: by its first argument, also inside of a tuple (as_tuple).
template <class... Args> bool completed_with_error(const std::tuple<Args...>& arguments) noexcept
{
    if constexpr (sizeof...(Args) != 0) {
        const auto& first = std::get<0>(arguments);
        using type = std::remove_cvref_t<decltype(first)>;
        if constexpr (std::is_same_v<type, boost::system::error_code> || std::is_same_v<type, std::exception_ptr>)
            return static_cast<bool>(first);
        else if constexpr (requires { completed_with_error(first); })
            return completed_with_error(first);
    }
    return false;
}

template <class... Args> class fiber_completion : public asio_operation {
public:
    using asio_operation::asio_operation;

    template <class... Given> void complete_with(Given&&... given) noexcept
    {
        try {
            arguments_.emplace(std::forward<Given>(given)...);
        } catch (...) {
            failure_ = std::current_exception(); // of a value's constructor
        }
        complete();
    }

    /// When it is over: what came of it, for a wait that ended because of `cause`.
    typename fiber_result<Args...>::type take(wake_cause cause, boost::system::error_code* error)
    {
        if (!arguments_ || completed_with_error(*arguments_))
            throw_if_interrupted(cause);
        if (failure_)
            std::rethrow_exception(std::move(failure_));
        if (abandoned())
            throw std::system_error{boost::asio::error::make_error_code(boost::asio::error::operation_aborted),
                                    "coir::use_fiber: the operation's handler was destroyed without being called"};
        if constexpr (sizeof...(Args) != 0) {
            auto& first = std::get<0>(*arguments_);
            using type = std::remove_cvref_t<decltype(first)>;
            if constexpr (std::is_same_v<type, boost::system::error_code>) {
                if (error)
                    *error = first;
                else if (first)
                    throw std::system_error{first};
            } else if constexpr (std::is_same_v<type, std::exception_ptr>) {
                if (first)
                    std::rethrow_exception(std::move(first));
            }
        }
        return fiber_result<Args...>::take(std::move(*arguments_));
    }

private:
    std::optional<std::tuple<Args...>> arguments_;
    std::exception_ptr failure_;
};

/// Refers to the operation, and is its end: by being called or destroyed.
template <class Completion> class fiber_handler {
public:
    using allocator_type = asio_memory<std::byte>;
    using cancellation_slot_type = asio_slot;

    explicit fiber_handler(Completion& completion) noexcept : completion_{&completion}, operation_{&completion} {}
    fiber_handler(fiber_handler&& other) noexcept
        : completion_{std::exchange(other.completion_, nullptr)}, operation_{other.operation_}
    {
    }
    fiber_handler& operator=(fiber_handler&& other) noexcept
    {
        std::swap(completion_, other.completion_);
        std::swap(operation_, other.operation_);
        return *this;
    }
    ~fiber_handler()
    {
        if (completion_)
            completion_->abandon();
    }

    allocator_type get_allocator() const noexcept { return allocator_type{*operation_}; }
    cancellation_slot_type get_cancellation_slot() const noexcept { return cancellation_slot_type{*operation_}; }

    template <class... Args> void operator()(Args&&... args)
    {
        std::exchange(completion_, nullptr)->complete_with(std::forward<Args>(args)...);
    }

private:
    Completion* completion_; ///< null when that has happened, and when it has been moved from
    asio_operation* operation_;
};

// ---- the wait -------------------------------------------------------------------------------------------------------

struct no_executor {};

/// The executor that an operation's steps run on, as far as its initiation tells. Asio's adaptors hide it before Boost
/// 1.83; then we look for what they have.
template <class Initiation> auto executor_of_initiation(const Initiation& initiation)
{
    if constexpr (requires { initiation.get_executor(); })
        return initiation.get_executor();
    else if constexpr (requires { initiation.ex_; })
        return initiation.ex_; // bind_executor
    else if constexpr (requires { initiation.initiation_; })
        return executor_of_initiation(initiation.initiation_);
    else
        return no_executor{};
}

/// Whether what is submitted to the executor runs on this thread, and cannot run now.
template <class Executor> bool is_of_this_hub(const Executor& executor)
{
    if constexpr (std::is_same_v<Executor, no_executor>) {
        return true; // what else
    } else if constexpr (boost::asio::can_query<const Executor&, boost::asio::execution::context_t>::value) {
        const auto* const ours = find_this_hub_context();
        return ours && static_cast<const boost::asio::execution_context*>(
                           std::addressof(boost::asio::query(executor, boost::asio::execution::context))) == ours;
    } else {
        return false;
    }
}

/// A cancellation may not be emitted while a step of the operation runs; so it is one of those itself.
template <class Initiation> void ask_to_end(asio_operation& operation, const Initiation& initiation) noexcept
{
    try {
        const auto executor = executor_of_initiation(initiation);
        if (!is_of_this_hub(executor)) {
            if constexpr (!std::is_same_v<std::remove_const_t<decltype(executor)>, no_executor>) {
                if (!operation.begin_emission())
                    return;
                const outside_fiber guard;
                boost::asio::dispatch(executor, asio_emission{operation});
                return;
            }
        }
    } catch (...) {
        // No memory, or an executor that takes nothing any more. Better here than not at all.
    }
    operation.emit();
}

template <class... Args, class Initiation, class... InitArgs>
typename fiber_result<std::decay_t<Args>...>::type await_in_fiber(boost::system::error_code* error,
                                                                  Initiation&& initiation, InitArgs&&... args)
{
    using completion = fiber_completion<std::decay_t<Args>...>;
    asio_operation::check_may_wait();
    const bool has_io = find_this_hub_io_context();
    completion result{!has_io && !is_of_this_hub(executor_of_initiation(initiation))};
    struct over {
        asio_operation& operation;
        ~over() { operation.wait_until_over(); }
    };
    wake_cause cause = wake_cause::notified;
    {
        const over nobody_refers_to_it{result};
        {
            const outside_fiber guard;
            // What Asio and Beast give to their own initiations is converted here, and is theirs to answer for.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
            std::forward<Initiation>(initiation)(fiber_handler<completion>{result}, std::forward<InitArgs>(args)...);
#pragma GCC diagnostic pop
        }
        cause = result.wait();
        if (cause != wake_cause::notified)
            ask_to_end(result, initiation);
    }
    return result.take(cause, error);
}

} // namespace coir

/// Asio asks this what a call with the token does.
template <class Result, class... Args> class boost::asio::async_result<coir::use_fiber_t, Result(Args...)> {
public:
    using return_type = typename coir::fiber_result<std::decay_t<Args>...>::type;

    template <class Initiation, class... InitArgs>
    static return_type initiate(Initiation&& initiation, coir::use_fiber_t, InitArgs&&... args)
    {
        return coir::await_in_fiber<Args...>(nullptr, std::forward<Initiation>(initiation),
                                             std::forward<InitArgs>(args)...);
    }
};

template <class Result, class... Args> class boost::asio::async_result<coir::fiber_error_token, Result(Args...)> {
public:
    using return_type = typename coir::fiber_result<std::decay_t<Args>...>::type;

    template <class Initiation, class... InitArgs>
    static return_type initiate(Initiation&& initiation, coir::fiber_error_token token, InitArgs&&... args)
    {
        return coir::await_in_fiber<Args...>(token.error(), std::forward<Initiation>(initiation),
                                             std::forward<InitArgs>(args)...);
    }
};
