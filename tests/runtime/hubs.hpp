// SPDX-License-Identifier: BSL-1.0
#pragma once
// The same work at once in fibers of several hubs.
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <thread>

namespace support {

/// In two fibers, on a hub of the calling thread's.
template <class Work> void in_two_fibers(Work& work)
{
    coir::run([&] {
        coir::fiber a{[&] { work(); }};
        coir::fiber b{[&] { work(); }};
        a.join();
        b.join();
    });
}

/// Five times: in two fibers on each of two hubs, and on a thread without fibers.
template <class Work> void on_two_hubs_and_a_thread(Work& work)
{
    std::thread plain{[&] { work(); }};
    std::thread other_hub{[&] { in_two_fibers(work); }};
    in_two_fibers(work);
    plain.join();
    other_hub.join();
}

} // namespace support
