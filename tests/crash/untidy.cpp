// SPDX-License-Identifier: BSL-1.0
// Tests the tests: with tests/support's main(), a test case that leaves a descriptor open fails.
#include <doctest/doctest.h>

#include <fcntl.h>

TEST_CASE("this one leaves a descriptor open") {
    CHECK(::open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
}
