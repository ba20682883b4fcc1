// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/cancel_scope.hpp>
#include <coir/cancellation.hpp>
#include <coir/executor.hpp>
#include <coir/fiber.hpp>
#include <coir/outside_fiber.hpp>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/system/system_error.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace coir {

/// What async_spawn calls a handler with: as asio::co_spawn does.
template <class Result> struct async_spawn_completion {
    static_assert(std::is_default_constructible_v<Result>, "there has to be one when the function has thrown, too");
    using signature = void(std::exception_ptr, Result);
    std::exception_ptr failure;
    std::optional<Result> value;

    template <class Function> void run(Function& function) { value.emplace(std::invoke(std::move(function))); }
    template <class Handler> void complete(Handler& handler)
    {
        std::move(handler)(std::move(failure), value ? std::move(*value) : Result{});
    }
};
template <> struct async_spawn_completion<void> {
    using signature = void(std::exception_ptr);
    std::exception_ptr failure;

    template <class Function> void run(Function& function) { std::invoke(std::move(function)); }
    template <class Handler> void complete(Handler& handler) { std::move(handler)(std::move(failure)); }
};

class async_spawn_initiation {
public:
    using executor_type = executor;

    async_spawn_initiation(const executor& where, const fiber_options& options) : where_{where}, options_{options} {}
    executor_type get_executor() const noexcept { return where_; }

    template <class Handler, class Function> void operator()(Handler&& handler, Function&& function) const
    {
        // In the slot as well, which nobody empties: so the two own it together.
        std::shared_ptr<cancel_scope> scope;
        if (auto slot = boost::asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
            scope = std::allocate_shared<cancel_scope>(boost::asio::get_associated_allocator(handler));
            slot.assign([scope](boost::asio::cancellation_type_t type) {
                if (type != boost::asio::cancellation_type::none)
                    scope->cancel();
            });
        }
        auto home = boost::asio::prefer(boost::asio::get_associated_executor(handler, where_),
                                        boost::asio::execution::outstanding_work.tracked);
        where_.hub().post(options_, [handler = std::decay_t<Handler>(std::forward<Handler>(handler)),
                                     function = std::decay_t<Function>(std::forward<Function>(function)),
                                     scope = std::move(scope), home = std::move(home)]() mutable {
            async_spawn_completion<std::invoke_result_t<std::decay_t<Function>>> ended;
            run(function, scope.get(), ended);
            scope.reset();
            complete_on(home, std::move(handler), std::move(ended));
        });
    }

private:
    static std::exception_ptr failure(boost::asio::error::basic_errors code)
    {
        return std::make_exception_ptr(boost::system::system_error{code});
    }

    template <class Function, class Completion>
    static void run(Function& function, cancel_scope* scope, Completion& ended)
    {
        try {
            if (!scope)
                ended.run(function);
            else if (!scope->run([&] { ended.run(function); }))
                ended.failure = failure(boost::asio::error::operation_aborted);
        } catch (const timed_out&) {
            ended.failure = failure(boost::asio::error::timed_out);
        } catch (const cancelled&) {
            ended.failure = failure(boost::asio::error::operation_aborted);
        } catch (...) {
            ended.failure = std::current_exception();
        }
    }

    template <class Executor, class Handler, class Completion>
    static void complete_on(const Executor& home, Handler handler, Completion ended)
    {
        auto call = [handler = std::move(handler), ended = std::move(ended)]() mutable { ended.complete(handler); };
        if constexpr (std::is_same_v<Executor, executor>) {
            boost::asio::dispatch(home, std::move(call)); // here, if it is this hub's
        } else {
            const outside_fiber guard;
            boost::asio::dispatch(home, std::move(call));
        }
    }

    executor where_;
    fiber_options options_;
};

/// Starts a fiber on a hub, from any thread, and completes with what the function returns or throws: for C++20
/// coroutines and everything else that speaks Asio. Signature void(std::exception_ptr, Result), or
/// void(std::exception_ptr) for void, as asio::co_spawn.
///
///     std::size_t size = co_await coir::async_spawn(coir::this_hub_executor(), [] { return blocking_library(); },
///                                                   asio::use_awaitable);
///
/// Never suspends itself. A cancellation that arrives by the handler's slot cancels what waits in the function; that,
/// and being cancelled with the runtime, completes with boost::system::system_error(operation_aborted), a `timed_out`
/// that nobody has caught with timed_out. The handler runs on its associated executor; without one, in the fiber.
/// Throws what `hub::post` does.
template <class Function, class CompletionToken>
auto async_spawn(const executor& where, const fiber_options& options, Function&& function, CompletionToken&& token)
{
    using result = std::decay_t<std::invoke_result_t<std::decay_t<Function>>>;
    return boost::asio::async_initiate<CompletionToken, typename async_spawn_completion<result>::signature>(
        async_spawn_initiation{where, options}, token, std::forward<Function>(function));
}
template <class Function, class CompletionToken>
auto async_spawn(const executor& where, Function&& function, CompletionToken&& token)
{
    return async_spawn(where, {.name = "async_spawn"}, std::forward<Function>(function),
                       std::forward<CompletionToken>(token));
}

} // namespace coir
