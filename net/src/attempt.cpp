// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"

#include <coir/fiber.hpp>
#include <coir/wait_queue.hpp>

#include <poll.h>

namespace coir::net {

bool may_try_again(wait_status status, error_code& ec)
{
    switch (status) {
    case wait_status::ready:
    case wait_status::handled:
    case wait_status::timed_out: return true;
    case wait_status::deadline: throw_interruption(wake_cause::deadline);
    case wait_status::cancelled: throw_interruption(wake_cause::cancelled);
    case wait_status::closed: ec = error::bad_descriptor; return false;
    case wait_status::unsupported: ec = error::operation_not_supported; return false;
    }
    return true;
}

bool wait_to_try_again(int descriptor, short events, error_code& ec)
{
    if (this_fiber::active())
        return may_try_again(wait_ready(descriptor, events), ec);
    pollfd one{.fd = descriptor, .events = events, .revents = 0};
    const bool closed = ::poll(&one, 1, -1) > 0 && (one.revents & POLLNVAL);
    return may_try_again(closed ? wait_status::closed : wait_status::ready, ec);
}

} // namespace coir::net
