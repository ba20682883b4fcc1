// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"

#include <coir/inspect.hpp>
#include <coir/net/serve.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

namespace coir::net {

namespace {

/// Until `accept` is tried again, if no connection ends before.
constexpr auto pause = std::chrono::milliseconds{100};
/// Between two reports that it cannot be.
constexpr auto telling_pause = std::chrono::seconds{10};

bool is_shortage(const error_code& ec) noexcept
{
    switch (ec.value()) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return true;
    default: return false;
    }
}

void tell(const std::exception_ptr& failure) noexcept
{
    std::string what = "an exception that is no std::exception";
    try {
        std::rethrow_exception(failure);
    } catch (const cancelled& error) {
        what = error.what();
    } catch (const std::exception& error) {
        what = error.what();
    } catch (...) { // that is what it says
    }
    std::fprintf(stderr, "coir: serve: %s\n", what.c_str());
}

} // namespace

service::service(const serve_options& options)
    : options_{options}, slots_{static_cast<std::ptrdiff_t>(std::max<std::size_t>(options.connections_max, 1))}
{
    if (options_.idle_max > clock::duration::zero())
        watch_ = fiber{{.name = "serve: idle"}, [this] { cut_off_idle(); }};
}

service::~service()
{
    watch_.cancel();
}

service::enlisted::enlisted(service& of, cancel_scope& scope) : owner{of}, id{this_fiber::get_id().value}
{
    if (owner.options_.idle_max > clock::duration::zero())
        owner.connections_.emplace(id, &scope);
}

void service::give_back() noexcept
{
    slots_.release();
    if (waits_for_end_)
        ended_.release();
}

void service::failed(const std::exception_ptr& failure) noexcept
{
    ++report_.failed;
    report_error(failure);
}

void service::report_error(const std::exception_ptr& failure) noexcept
{
    if (options_.on_error)
        options_.on_error(failure);
    else
        tell(failure);
}

/// Not to spin: the listener stays ready while nothing can be accepted.
void service::wait_out(const error_code& ec)
{
    if (!is_shortage(ec))
        throw_error(ec, "coir::net: accept");
    if (const auto now = clock::now(); told_ == clock::time_point{} || now - told_ > telling_pause) {
        told_ = now;
        report_error(std::make_exception_ptr(std::system_error{static_cast<std::error_code>(ec), "coir::net: accept"}));
    }
    waits_for_end_ = true;
    ended_.try_acquire_for(pause);
    waits_for_end_ = false;
    while (ended_.try_acquire()) {}
}

void service::cut_off_idle()
{
    for (;;) {
        this_fiber::sleep_for(options_.idle_max / 2);
        const auto since_when = clock::now() - options_.idle_max;
        for (const auto& each : fibers()) {
            if (each.doing != fiber_info::state::waiting || each.waiting_for.descriptor < 0 || each.since > since_when)
                continue;
            if (const auto found = connections_.find(each.id.value); found != connections_.end())
                found->second->cancel();
        }
    }
}

serve_report service::finish()
{
    try_for(options_.drain, [&] { group_.join(); });
    return report_;
}

std::vector<tcp_listener> listen_on_hubs(const runtime& hubs, const tcp_endpoint& at, tcp_listen_options options)
{
    options.reuse_port = true;
    std::vector<tcp_listener> listeners;
    listeners.emplace_back(at, options);
    while (listeners.size() < hubs.hub_count())
        listeners.emplace_back(listeners.front().local_endpoint(), options);
    return listeners;
}

} // namespace coir::net
