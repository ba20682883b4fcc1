// SPDX-License-Identifier: BSL-1.0
// What happens when the system has no more to give: a clear error, and the fibers there are go on. Each case runs in a
// child of its own, which takes the limits with it.
#include "child.hpp"

#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;
using support::status_of;

namespace {

/// Starts fibers that wait until no more can be started. Then all of them must end, and a new one must start in the
/// place of one of them. 0 if all is as it should be.
template <class Spawn> int until_no_more_can_be_had(Spawn&& spawn)
{
    event go_on;
    int started = 0;
    int ended = 0;
    fiber_group group;
    const auto wait = [&] {
        go_on.wait();
        ++ended;
    };
    try {
        for (;; ++started)
            spawn(group, wait);
    } catch (const std::system_error& error) {
        const std::string_view what = error.what();
        if (error.code() != std::errc::not_enough_memory || what.find("coir") == what.npos ||
            what.find("vm.max_map_count") == what.npos)
            return 1;
    }
    if (started == 0)
        return 2;
    go_on.set();
    group.join();
    spawn(group, wait);
    group.join();
    return ended == started + 1 ? 0 : 3;
}

bool is_resident(std::uintptr_t address)
{
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    unsigned char state = 0;
    return ::mincore(reinterpret_cast<void*>(address & ~(page - 1)), page, &state) == 0 && state & 1;
}

const auto plainly = [](fiber_group& group, auto& function) { group.spawn(function); };

std::size_t address_space_in_use()
{
    std::size_t pages = 0;
    std::ifstream{"/proc/self/statm"} >> pages;
    return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Splits a region until the process may have no more mappings.
void use_all_mappings_up()
{
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    std::size_t most = 0;
    std::ifstream{"/proc/sys/vm/max_map_count"} >> most;
    const std::size_t size = 2 * (most + 1) * page;
    auto* region =
        static_cast<char*>(::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (std::size_t at = 0; at < size; at += 2 * page)
        if (::mprotect(region + at, page, PROT_READ) != 0)
            return;
}

} // namespace

TEST_SUITE_BEGIN("limits");

TEST_CASE("when there is no more address space, spawning says so and the fibers there are go on") {
    CHECK(status_of([] {
              return coir::run([] {
                  const rlim_t limit = address_space_in_use() + (std::size_t{300} << 20);
                  const rlimit both{limit, limit};
                  ::setrlimit(RLIMIT_AS, &both);
                  return until_no_more_can_be_had(plainly);
              });
          }) == 0);
}

TEST_CASE("when there are no more mappings, spawning names the sysctl and the fibers there are go on") {
    CHECK(status_of([] {
              return coir::run([] {
                  use_all_mappings_up();
                  return until_no_more_can_be_had(plainly);
              });
          }) == 0);
}

TEST_CASE("what is too large for any stack is refused, and the next is not") {
    coir::run([] {
        CHECK_THROWS_AS((fiber{{.stack_size = std::size_t{1} << 60}, [] {}}), std::system_error);
        fiber{[] {}}.join();
    });
}

TEST_CASE("after a peak, stacks give their memory back when they have not been used for some seconds") {
    testing::run([] {
        constexpr int peak = 10'000;
        constexpr int kept = 4096;
        std::vector<std::uintptr_t> stacks;
        for (int round = 0; round < 2; ++round) {
            stacks.clear();
            event go_on;
            fiber_group group;
            for (int i = 0; i < peak; ++i)
                group.spawn([&] {
                    volatile char local = 0;
                    stacks.push_back(reinterpret_cast<std::uintptr_t>(&local));
                    go_on.wait();
                });
            this_fiber::yield();
            CHECK(std::ranges::count_if(stacks, is_resident) == peak);
            go_on.set();
            group.join();
            CHECK(std::ranges::count_if(stacks, is_resident) == peak);
            this_fiber::sleep_for(5s);
            const auto resident = std::ranges::count_if(stacks, is_resident);
            CHECK(resident >= kept - 64);
            CHECK(resident <= kept);
        }
    });
}
