// SPDX-License-Identifier: BSL-1.0
// A fiber's stack ends where its first frame is, whoever walks it.
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include <execinfo.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

using namespace coir;

namespace {

struct walk {
    int last_step = 1; ///< 0: the walk came to an end; negative: it got lost
    std::vector<std::string> names;
};

[[gnu::noinline]] walk by_libunwind()
{
    unw_context_t here;
    unw_cursor_t cursor;
    unw_getcontext(&here);
    unw_init_local(&cursor, &here);
    walk result;
    do {
        std::array<char, 256> name{};
        unw_word_t offset = 0;
        unw_get_proc_name(&cursor, name.data(), name.size(), &offset);
        result.names.emplace_back(name.data());
        result.last_step = unw_step(&cursor);
    } while (result.last_step > 0 && result.names.size() < 200);
    return result;
}

/// libunwind keeps a pipe from its first walk on. Before main, so that no test case is accused of it.
[[maybe_unused]] const walk first_walk = by_libunwind();

/// As a profiler does it that knows no unwind tables: from frame record to frame record, until there is none.
[[gnu::noinline]] int frames_by_pointer()
{
    struct record {
        const record* caller;
        const void* return_address;
    };
    int count = 0;
    for (const auto* each = static_cast<const record*>(__builtin_frame_address(0)); each && count < 200; ++count)
        each = each->caller;
    return count;
}

[[gnu::noinline]] void deeper(int levels, auto&& then)
{
    if (levels > 0)
        deeper(levels - 1, then);
    else
        then();
    asm volatile(""); // no tail call
}

} // namespace

TEST_SUITE_BEGIN("first_frame");

TEST_CASE("libunwind finds the end of a fiber's stack, and it is our first frame") {
    testing::run([] {
        walk seen;
        fiber walker{[&] { deeper(5, [&] { seen = by_libunwind(); }); }};
        walker.join();
        CHECK(seen.last_step == 0);
        CHECK(seen.names.size() > 6);
        CHECK(seen.names.back() == "coir_first_frame");
    });
}

TEST_CASE("glibc's backtrace ends with our first frame") {
    testing::run([] {
        std::array<void*, 200> frames{};
        int count = 0;
        fiber walker{[&] { deeper(5, [&] { count = ::backtrace(frames.data(), frames.size()); }); }};
        walker.join();
        REQUIRE(count > 6);
        REQUIRE(count < 200);
        char** names = ::backtrace_symbols(frames.data(), count);
        CHECK(std::string{names[count - 1]}.find("coir_first_frame") != std::string::npos);
        std::free(names);
    });
}

TEST_CASE("frame pointers lead to the end of a fiber's stack") {
    testing::run([] {
        // Every stack of the pool has been used before by something that left its frames there.
        for (int round = 0; round < 3; ++round) {
            int shallow = 0;
            int deep = 0;
            fiber walker{[&] {
                deeper(0, [&] { shallow = frames_by_pointer(); });
                deeper(20, [&] { deep = frames_by_pointer(); });
            }};
            walker.join();
            CHECK(shallow > 2);
            CHECK(deep > shallow);
            CHECK(deep <= shallow + 20 + 3);
        }
    });
}

TEST_SUITE_END();
