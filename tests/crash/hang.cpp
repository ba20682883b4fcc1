// SPDX-License-Identifier: BSL-1.0
// Tests the tests: with tests/support's main(), a test case that hangs ends, and tells what its fibers wait for.
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

TEST_CASE("this one waits for ever") {
    coir::run([] {
        coir::event never_set;
        coir::fiber patient{{.name = "patient"}, [&] { never_set.wait(); }};
        patient.join();
    });
}
