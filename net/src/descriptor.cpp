// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"

#include <coir/asio.hpp>
#include <coir/fiber.hpp>
#include <coir/net/descriptor.hpp>
#include <coir/net/readiness.hpp>

#include <unistd.h>

#include <stdexcept>

#include <boost/asio/system_executor.hpp>

namespace coir::net {

void unique_fd::close_descriptor(int descriptor, error_code& ec) noexcept
{
    const int before = errno;
    about_to_close(descriptor);
    // Whatever it says, the number is free afterwards (close(2)); EINTR is no exception on Linux.
    if (::close(descriptor) != 0 && errno != EINTR)
        ec = system_error(errno);
    errno = before;
}

void descriptor::close()
{
    error_code ec;
    close(ec);
    throw_if(ec, "coir::net: close");
}

descriptor::executor_type descriptor::get_executor()
{
    if (this_fiber::active()) {
        try {
            return this_hub_io_context().get_executor();
        } catch (const std::logic_error&) { // virtual time
        }
    }
    return boost::asio::system_executor{};
}

} // namespace coir::net
