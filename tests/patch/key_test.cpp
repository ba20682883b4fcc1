// SPDX-License-Identifier: BSL-1.0
// Thread-specific data. The program's own stays the thread's, so that fibers of one thread share it; openssl_test.cpp
// has that of libcrypto, of which each fiber has its own.
#include "native_diff.hpp"

#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <pthread.h>

TEST_CASE("a key of the program's is made, used and deleted as on a thread") {
    CHECK(native_diff([](stage& on) {
              static int value;
              static int destroyed;
              destroyed = 0;
              pthread_key_t key;
              on.record_error("create", [&] { return ::pthread_key_create(&key, [](void*) { ++destroyed; }); });
              on.note(::pthread_getspecific(key) == nullptr);
              on.record_error("set", [&] { return ::pthread_setspecific(key, &value); });
              on.note(::pthread_getspecific(key) == &value);
              on.record_error("delete", [&] { return ::pthread_key_delete(key); });
              on.note(::pthread_getspecific(unknown(key)) == nullptr, destroyed);
              on.record_error("delete", [&] { return ::pthread_key_delete(key); });
              on.record_error("set", [&] { return ::pthread_setspecific(key, &value); });
              pthread_key_t again;
              on.record_error("create", [&] { return ::pthread_key_create(&again, nullptr); });
              on.note(again == key, ::pthread_getspecific(again) == nullptr);
              on.record_error("delete", [&] { return ::pthread_key_delete(again); });
              on.record_error("none", [] { return ::pthread_key_delete(4711); });
              on.record_error("none", [] { return ::pthread_setspecific(4711, &value); });
              on.note(::pthread_getspecific(unknown(pthread_key_t{4711})) == nullptr);
          }) ==
          "create 0\n1\nset 0\n1\ndelete 0\n1 0\ndelete EINVAL\nset EINVAL\ncreate 0\n1 1\ndelete 0\nnone EINVAL\n"
          "none EINVAL\n1\n");
}

TEST_CASE("fibers of one thread share what the program keeps under a key, and their ends do not destroy it") {
    static int destroyed;
    destroyed = 0;
    pthread_key_t key;
    REQUIRE(::pthread_key_create(&key, [](void*) { ++destroyed; }) == 0);
    std::thread{[&] {
        int value = 1;
        REQUIRE(::pthread_setspecific(key, &value) == 0);
        coir::run([&] {
            int other = 2;
            coir::fiber setting{[&] {
                CHECK(::pthread_getspecific(key) == &value);
                CHECK(::pthread_setspecific(key, &other) == 0);
            }};
            setting.join();
            CHECK(destroyed == 0);
            CHECK(::pthread_getspecific(key) == &other);
            CHECK(::pthread_setspecific(key, &value) == 0);
        });
        CHECK(::pthread_getspecific(key) == &value);
        CHECK(destroyed == 0);
    }}.join();
    CHECK(destroyed == 1);
    CHECK(::pthread_key_delete(key) == 0);
}
