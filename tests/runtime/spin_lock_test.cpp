// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/runtime.hpp>
#include <coir/spin_lock.hpp>

#include <array>
#include <atomic>
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

TEST_CASE("a spin_lock that belongs to a hub is not taken twice by its try_lock") {
    coir::run([] {
        coir::spin_lock lock{coir::spin_lock::mostly_one_hub{}};
        for (int i = 0; i < 2; ++i) {
            CHECK(lock.try_lock());
            CHECK(!lock.try_lock());
            lock.unlock();
        }
        std::scoped_lock held{lock};
        CHECK(!lock.try_lock());
    });
}

TEST_CASE("a plain thread that takes a spin_lock first makes it everybody's") {
    coir::spin_lock lock{coir::spin_lock::mostly_one_hub{}};
    CHECK(lock.try_lock());
    coir::run([&] { CHECK(!lock.try_lock()); });
    lock.unlock();
    coir::run([&] {
        CHECK(lock.try_lock());
        lock.unlock();
    });
}

TEST_CASE("a hub's spin_lock keeps it and others apart while they take it away") {
    struct guarded {
        coir::spin_lock lock{coir::spin_lock::mostly_one_hub{}};
        long count = 0; // not atomic
    };
    constexpr int mine = 200;
    constexpr int theirs = 50;
    std::array<guarded, 300> all;
    std::atomic<std::size_t> current{0};
    std::atomic<bool> owned{false};
    std::atomic<int> done{0};

    const auto take = [](guarded& each) {
        std::scoped_lock held{each.lock};
        ++each.count;
    };
    std::vector<std::thread> others;
    for (int i = 0; i < 2; ++i)
        others.emplace_back([&] {
            for (std::size_t index = 0; index < all.size(); ++index) {
                while (current.load() != index || !owned.load())
                    std::this_thread::yield();
                for (int j = 0; j < theirs; ++j)
                    take(all[index]);
                ++done;
                while (current.load() == index)
                    std::this_thread::yield();
            }
        });
    long taken = 0;
    coir::run([&] {
        for (auto& each : all) {
            for (int i = 0; i < mine; ++i, ++taken)
                take(each);
            owned = true;
            for (; done.load() < 2; ++taken) // at any moment it is taken away
                take(each);
            owned = false;
            done = 0;
            ++current;
        }
    });
    for (auto& each : others)
        each.join();
    for (auto& each : all)
        taken -= each.count;
    CHECK(taken == -long{2 * theirs} * static_cast<long>(all.size()));
}
