// SPDX-License-Identifier: BSL-1.0
//
// What every fiber is doing, as in docs/guide/debugging.md.
#include <coir/fiber.hpp>
#include <coir/inspect.hpp>
#include <coir/mutex.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <unistd.h>

#include <iostream>
#include <mutex>

using namespace std::chrono_literals;

int main()
{
    coir::run([] {
        coir::mutex door;
        int ends[2];
        if (::pipe(ends) != 0)
            return;

        coir::fiber holder{{.name = "holder"}, [&] {
                               std::scoped_lock lock{door};
                               coir::this_fiber::sleep_for(1h);
                           }};
        coir::fiber visitor{{.name = "visitor"}, [&] { std::scoped_lock lock{door}; }};
        coir::fiber listener{{.name = "listener"}, [&] {
                                 char byte;
                                 [[maybe_unused]] const auto size = ::read(ends[0], &byte, 1);
                             }};
        coir::this_fiber::sleep_for(20ms);

        std::cout << coir::describe_fibers();
        for (const auto& fiber : coir::fibers())
            if (fiber.doing == coir::fiber_info::state::waiting && fiber.waiting_for.descriptor >= 0)
                std::cout << fiber.name << " waits for descriptor " << fiber.waiting_for.descriptor << "\n";

        for (auto* each : {&holder, &visitor, &listener})
            each->cancel();
    });
}
