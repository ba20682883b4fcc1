// SPDX-License-Identifier: BSL-1.0
#pragma once
// An asynchronous operation that a test completes by hand, when and where it likes.
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>

#include <functional>
#include <memory>
#include <utility>

namespace support {

template <class... Args> class manual_operation {
public:
    template <class Token> auto start(Token&& token)
    {
        return boost::asio::async_initiate<Token, void(Args...)>(
            [this](auto handler) {
                auto slot = boost::asio::get_associated_cancellation_slot(handler);
                if (slot.is_connected() && when_cancelled)
                    slot.assign([this](boost::asio::cancellation_type type) {
                        asked = type;
                        when_cancelled();
                    });
                handler_ = std::make_unique<holder<decltype(handler)>>(std::move(handler));
                if (when_started)
                    when_started();
            },
            token);
    }

    bool pending() const noexcept { return handler_ != nullptr; }
    void complete(Args... args) { std::exchange(handler_, nullptr)->call(std::move(args)...); }
    void drop() noexcept { handler_.reset(); }

    std::function<void()> when_started;   ///< called inside of the initiation
    std::function<void()> when_cancelled; ///< without it, the operation cannot be cancelled
    boost::asio::cancellation_type asked = boost::asio::cancellation_type::none;

private:
    struct holder_base {
        virtual ~holder_base() = default;
        virtual void call(Args... args) = 0;
    };
    template <class Handler> struct holder final : holder_base {
        explicit holder(Handler&& from) : handler{std::move(from)} {}
        void call(Args... args) override { std::move(handler)(std::move(args)...); }
        Handler handler;
    };
    std::unique_ptr<holder_base> handler_;
};

} // namespace support
