// SPDX-License-Identifier: BSL-1.0
#include <coir/coroutine.hpp>
#include <coir/runtime.hpp>

namespace {

volatile bool deeper = true; // which the compiler cannot know

int recurse(int depth)
{
    volatile char frame[1024];
    frame[0] = static_cast<char>(depth);
    return (deeper ? recurse(depth + 1) : 0) + frame[0];
}

} // namespace

int main()
{
    coir::run([] {
        coir::fiber deep{{.name = "deep"}, [] {
                             coir::coroutine<int()> inner{{.stack_size = 64 * 1024}, [](auto& self) {
                                                              self.yield(1);
                                                              return recurse(0);
                                                          }};
                             inner.resume();
                             coir::this_fiber::yield();
                             inner.resume();
                         }};
        deep.join();
    });
}
