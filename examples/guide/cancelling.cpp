// SPDX-License-Identifier: BSL-1.0
//
// Cancellation and deadlines, as in docs/guide/cancellation-and-deadlines.md.
#include <coir/deadline.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

using namespace std::chrono_literals;

namespace {

/// A socket on which nobody ever says anything.
struct silence {
    int ends[2] = {-1, -1};
    silence()
    {
        if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
            throw std::runtime_error{"socketpair"};
    }
    ~silence()
    {
        ::close(ends[0]);
        ::close(ends[1]);
    }
};

void listen_to(const silence& socket)
{
    char byte;
    if (::read(socket.ends[0], &byte, 1) < 0)
        std::printf("read: %s\n", std::strerror(errno));
}

void with_a_time_limit(const silence& socket)
{
    coir::timeout limit{20ms};
    listen_to(socket); // read: Connection timed out
    if (limit.expired())
        std::printf("nobody spoke for 20 ms\n");
}

void cancelled_from_outside(const silence& socket)
{
    coir::fiber listener{[&] {
        struct goodbye {
            ~goodbye()
            {
                const coir::shield finish; // the fiber is cancelled, and yet this may wait
                coir::this_fiber::sleep_for(1ms);
                std::printf("said goodbye\n");
            }
        } at_the_end;
        listen_to(socket);               // read: Operation canceled
        coir::this_fiber::sleep_for(1h); // throws coir::cancelled
    }};
    coir::this_fiber::sleep_for(20ms);
    listener.cancel();
    listener.join(); // returns: to be cancelled is not to fail
}

void first_failure_ends_the_others()
{
    coir::fiber_group siblings;
    siblings.spawn([] { coir::this_fiber::sleep_for(1h); });
    siblings.spawn([] { throw std::runtime_error{"no such host"}; });
    try {
        siblings.join();
    } catch (const std::runtime_error& error) {
        std::printf("the group failed: %s\n", error.what());
    }
}

} // namespace

int main()
{
    coir::run([] {
        const silence socket;
        with_a_time_limit(socket);
        cancelled_from_outside(socket);
        first_failure_ends_the_others();
    });
}
