// SPDX-License-Identifier: BSL-1.0
// pkg-config: coir-net
//
// The least a user's program needs of an installed coir.
#include <coir/fiber.hpp>
#include <coir/net/readiness.hpp>
#include <coir/runtime.hpp>

int main()
{
    return coir::run([] {
        int answer = 0;
        coir::fiber worker{[&] { answer = 42; }};
        worker.join();
        return answer == 42 ? 0 : 1;
    });
}
