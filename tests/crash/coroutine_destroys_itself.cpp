// SPDX-License-Identifier: BSL-1.0
#include <coir/coroutine.hpp>

#include <memory>

int main()
{
    std::unique_ptr<coir::coroutine<void()>> inner;
    inner = std::make_unique<coir::coroutine<void()>>([&](auto&) { inner.reset(); });
    inner->resume();
}
