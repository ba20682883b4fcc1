// SPDX-License-Identifier: BSL-1.0
#include <coir/coroutine.hpp>

#include <stdexcept>

int main()
{
    coir::coroutine<void()> inner{[](auto& self) {
        try {
            self.yield();
        } catch (const coir::coroutine_destroyed&) {
            throw std::runtime_error{"nobody hears this"};
        }
    }};
    inner.resume();
}
