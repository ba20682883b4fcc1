// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/spin_lock.hpp>

#include <mutex>
#include <thread>
#include <vector>

TEST_CASE("a spin_lock keeps all but one thread out") {
    coir::spin_lock lock;
    long count = 0; // not atomic: the lock guards it
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (int j = 0; j < 10'000; ++j) {
                std::scoped_lock held{lock};
                ++count;
            }
        });
    for (auto& each : threads)
        each.join();
    CHECK(count == 40'000);
}

TEST_CASE("a spin_lock that is held is not taken by try_lock") {
    coir::spin_lock lock;
    CHECK(lock.try_lock());
    CHECK(!lock.try_lock());
    lock.unlock();
    CHECK(lock.try_lock());
    lock.unlock();
}
