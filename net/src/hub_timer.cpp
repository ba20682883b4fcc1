// SPDX-License-Identifier: BSL-1.0
#include <coir/hub_io_context.hpp>
#include <coir/net/hub_timer.hpp>
#include <coir/outside_fiber.hpp>
#include <coir/own_descriptors.hpp>

#include <boost/asio/steady_timer.hpp>

#include <utility>

namespace coir::net {

struct hub_timer::shared_state {
    std::function<void()> call;
    boost::asio::steady_timer timer{this_hub_io_context()};
    bool started = false;
};

hub_timer::hub_timer(std::function<void()> call)
{
    const outside_fiber not_ours; // Asio's calls
    const own_descriptors_scope theirs;
    state_ = std::make_shared<shared_state>();
    state_->call = std::move(call);
}

hub_timer::~hub_timer() = default;

void hub_timer::start(std::chrono::nanoseconds after)
{
    if (state_->started)
        return;
    const outside_fiber not_ours;
    state_->timer.expires_after(after);
    state_->timer.async_wait([weak = std::weak_ptr{state_}](const boost::system::error_code& failure) {
        const auto state = weak.lock();
        if (failure || !state)
            return;
        state->started = false;
        state->call();
    });
    state_->started = true;
}

} // namespace coir::net
