// SPDX-License-Identifier: BSL-1.0
// Unmodified libmemcached in fibers, with memcached.
#include "server.hpp"
#include "together.hpp"

#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <libmemcached/memcached.h>
#include <libmemcached/util.h>
#include <signal.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string_view>
#include <vector>

namespace clients {
namespace {

// ---- the server -----------------------------------------------------------------------------------------------------

struct memcached_server {
    memcached_server()
    {
        process.start("exec " + program("memcached", "memcached") + " -l 127.0.0.1 -p " + std::to_string(port) +
                          " -U 0 -t 2 -m 64 -I 8m -c 4096 -b 4096",
                      "nobody", SIGTERM);
    }
    bool is_ready() const { return accepts_connections(port); }

    server_process process{"memcached"};
    int port = free_port();
};

memcached_server& cache()
{
    [[maybe_unused]] static const auto once = ::signal(SIGPIPE, SIG_IGN);
    return shared<memcached_server>();
}

struct with_cache {
    with_cache() { cache(); }
};

// ---- libmemcached as anybody uses it --------------------------------------------------------------------------------

struct freed {
    void operator()(memcached_st* handle) const noexcept { memcached_free(handle); }
    void operator()(void* memory) const noexcept { std::free(memory); }
};
using handle = std::unique_ptr<memcached_st, freed>;

/// Connects when something is asked.
handle make_handle(int port = cache().port)
{
    handle mine{memcached_create(nullptr)};
    memcached_server_add(mine.get(), "127.0.0.1", static_cast<in_port_t>(port));
    return mine;
}

handle make_patient_handle(int port = cache().port)
{
    auto mine = make_handle(port);
    memcached_behavior_set(mine.get(), MEMCACHED_BEHAVIOR_POLL_TIMEOUT, 30'000);
    return mine;
}

/// All that can be seen of an answer.
struct answer {
    memcached_return_t code = MEMCACHED_SUCCESS;
    int number = 0; ///< errno, as libmemcached keeps it
    std::string error;
    std::string value;

    friend bool operator==(const answer&, const answer&) = default;
    friend std::ostream& operator<<(std::ostream& out, const answer& it)
    {
        return out << "{" << it.code << " " << memcached_strerror(nullptr, it.code) << ": " << it.error << ", errno "
                   << it.number << ", " << it.value.size() << " bytes: " << it.value.substr(0, 40) << "}";
    }
};

struct all_of {
    std::vector<answer> answers;

    friend bool operator==(const all_of&, const all_of&) = default;
    friend std::ostream& operator<<(std::ostream& out, const all_of& it)
    {
        for (const auto& each : it.answers)
            out << "\n    " << each;
        return out;
    }
};

answer state_of(const handle& it, memcached_return_t code)
{
    answer result;
    result.code = code;
    if (memcached_failed(code)) {
        result.number = memcached_last_error_errno(it.get());
        // "(0x55620c023970) TIMEOUT, ...": the handle's address says nothing.
        const std::string_view error = memcached_last_error_message(it.get());
        const auto address_end = error.find(") ");
        result.error = error.substr(address_end == error.npos ? 0 : address_end + 2);
    }
    return result;
}

answer set(const handle& to, const std::string& key, const std::string& value)
{
    return state_of(to, memcached_set(to.get(), key.data(), key.size(), value.data(), value.size(), 0, 0));
}

answer get(const handle& from, const std::string& key)
{
    std::size_t size = 0;
    std::uint32_t flags = 0;
    memcached_return_t code = MEMCACHED_SUCCESS;
    const std::unique_ptr<char, freed> value{memcached_get(from.get(), key.data(), key.size(), &size, &flags, &code)};
    auto result = state_of(from, code);
    if (value)
        result.value.assign(value.get(), size);
    return result;
}

void check_many_at_once(std::size_t count)
{
    allow_many_descriptors();
    REQUIRE(set(make_handle(), "key", "value").code == MEMCACHED_SUCCESS);
    const auto expected = natively([&] { return get(make_handle(), "key"); });
    REQUIRE(expected.value == "value");
    std::vector<answer> answers(count);
    paused stopped{cache().process};
    const auto most = together(
        count, [&](std::size_t i) { answers[i] = get(make_patient_handle(), "key"); }, [&] { stopped.resume(); });
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

} // namespace

// ---- many at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_cache, "thirty fibers wait for memcached with libmemcached at once, on one thread") {
    check_many_at_once(30);
}

TEST_CASE_FIXTURE(with_cache, "a thousand fibers wait for memcached with libmemcached at once, on one thread") {
    check_many_at_once(1000);
}

TEST_CASE_FIXTURE(with_cache, "a hundred fibers share libmemcached's own pool of five connections") {
    // The pool blocks with a pthread condition.
    const auto master = make_handle();
    memcached_pool_st* const pool = memcached_pool_create(master.get(), 5, 5);
    REQUIRE(pool);
    std::vector<std::string> values(100);
    const auto most = together(values.size(), [&](std::size_t i) {
        memcached_return_t code = MEMCACHED_SUCCESS;
        handle mine{memcached_pool_pop(pool, true, &code)};
        REQUIRE(code == MEMCACHED_SUCCESS);
        const auto key = "pool" + std::to_string(i);
        set(mine, key, std::to_string(i));
        values[i] = get(mine, key).value;
        memcached_pool_push(pool, mine.release());
    });
    for (std::size_t i = 0; i < values.size(); ++i)
        CHECK(values[i] == std::to_string(i));
    CHECK(most.waiting <= 5);
    CHECK(most.threads == 1);
    CHECK(memcached_pool_destroy(pool) == master.get());
}

// ---- as native ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_cache, "libmemcached's commands are as native") {
    for (const bool binary : {false, true}) {
        CAPTURE(binary);
        const auto all = check_native([&] {
                             const auto mine = make_handle();
                             memcached_behavior_set(mine.get(), MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, binary);
                             memcached_behavior_set(mine.get(), MEMCACHED_BEHAVIOR_SUPPORT_CAS, true);
                             memcached_flush(mine.get(), 0);
                             std::vector<answer> answers;
                             const auto add = [&](memcached_return_t code) { answers.push_back(state_of(mine, code)); };
                             answers.push_back(get(mine, "one"));
                             answers.push_back(set(mine, "one", "1"));
                             answers.push_back(get(mine, "one"));
                             add(memcached_add(mine.get(), "one", 3, "2", 1, 0, 0));
                             add(memcached_append(mine.get(), "one", 3, "0", 1, 0, 0));
                             std::uint64_t number = 0;
                             add(memcached_increment(mine.get(), "one", 3, 5, &number));
                             answers.back().value = std::to_string(number);
                             add(memcached_delete(mine.get(), "one", 3, 0));
                             add(memcached_delete(mine.get(), "one", 3, 0));
                             answers.push_back(set(mine, "key with spaces", ""));
                             return all_of{answers};
                         }).answers;
        CHECK(all[0].code == MEMCACHED_NOTFOUND);
        CHECK(all[2].value == "1");
        CHECK(all[3].code == (binary ? MEMCACHED_DATA_EXISTS : MEMCACHED_NOTSTORED));
        CHECK(all[5].value == "15");
        CHECK(all[7].code == MEMCACHED_NOTFOUND);
        CHECK(all[8].code != MEMCACHED_CONNECTION_FAILURE);
    }
}

TEST_CASE_FIXTURE(with_cache, "two thousand keys asked for at once with libmemcached are as native") {
    constexpr int count = 2000;
    std::vector<std::string> keys;
    std::vector<const char*> pointers;
    std::vector<std::size_t> sizes;
    for (int i = 0; i < count; ++i)
        keys.push_back("many" + std::to_string(i));
    for (const auto& each : keys) {
        pointers.push_back(each.data());
        sizes.push_back(each.size());
    }
    const auto work = [&] {
        const auto mine = make_handle();
        for (const auto& key : keys)
            set(mine, key, "value of " + key);
        std::string all;
        memcached_mget(mine.get(), pointers.data(), sizes.data(), keys.size());
        memcached_return_t code = MEMCACHED_SUCCESS;
        while (memcached_result_st* each = memcached_fetch_result(mine.get(), nullptr, &code)) {
            all.append(memcached_result_value(each), memcached_result_length(each)) += ";";
            memcached_result_free(each);
        }
        return all + memcached_strerror(mine.get(), code);
    };
    const auto expected = natively(work);
    CHECK(expected.find("value of many1999;") != std::string::npos);
    std::vector<std::string> results(5);
    together(results.size(), [&](std::size_t i) { results[i] = work(); });
    for (const auto& each : results)
        CHECK((each == expected));
}

TEST_CASE_FIXTURE(with_cache, "large values with libmemcached are as native") {
    std::string value(5'000'000, 'x');
    for (std::size_t i = 0; i < value.size(); i += 7)
        value[i] = static_cast<char>('a' + i % 26);
    const auto there_and_back = [&](const std::string& key) {
        const auto mine = make_patient_handle();
        const auto stored = set(mine, key, value);
        return stored.code == MEMCACHED_SUCCESS && get(mine, key).value == value;
    };
    CHECK(natively([&] { return there_and_back("large"); }));
    std::vector<int> results(5);
    together(results.size(), [&](std::size_t i) { results[i] = there_and_back("large" + std::to_string(i)); });
    CHECK(results == std::vector<int>(5, 1));
}

TEST_CASE_FIXTURE(with_cache, "libmemcached's sockets have the flags that they have natively") {
    // It makes them non-blocking itself.
    const auto before = nonblocking_sockets();
    check_native([&] {
        const auto mine = make_handle();
        set(mine, "key", "value");
        return nonblocking_sockets() - before;
    });
}

// ---- failures -------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_cache, "a failed connection with libmemcached is as native") {
    const auto failure = [](const char* host, int port) {
        return check_native([&] {
            const handle mine{memcached_create(nullptr)};
            memcached_server_add(mine.get(), host, static_cast<in_port_t>(port));
            return get(mine, "key");
        });
    };
    const auto refused = failure("127.0.0.1", free_port());
    CHECK(refused.code == MEMCACHED_CONNECTION_FAILURE);
    CHECK(failure("nowhere.invalid", 1).code == MEMCACHED_HOST_LOOKUP_FAILURE);
}

TEST_CASE_FIXTURE(with_cache, "libmemcached's own time-outs are as native") {
    const silent_port silent;
    const full_port full;
    for (const int port : {silent.port(), full.port()}) {
        CAPTURE(port);
        const auto result = check_native([&] {
            const auto mine = make_handle(port);
            memcached_behavior_set(mine.get(), MEMCACHED_BEHAVIOR_POLL_TIMEOUT, 100);
            memcached_behavior_set(mine.get(), MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, 100);
            return get(mine, "key");
        });
        CHECK(result.code == MEMCACHED_TIMEOUT);
    }
}

TEST_CASE("a memcached server that is killed midway is libmemcached's own error, as native") {
    std::optional<memcached_server> server;
    start(server);
    const auto result = check_killed_midway(
        server->process,
        [&] {
            auto mine = make_patient_handle(server->port);
            get(mine, "key");
            return mine;
        },
        [](const handle& from) { return get(from, "key"); });
    CHECK(result.code == MEMCACHED_CONNECTION_FAILURE);
    CHECK(result.number == ECONNRESET);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_cache, "a deadline ends memcached_get with an error of libmemcached's") {
    paused stopped{cache().process};
    const auto mine = make_patient_handle();
    const auto result = with_deadline([&] { return get(mine, "key"); });
    // memcached_get, which has not found the value, says that it has not been found; the handle knows why.
    CHECK(result.code == MEMCACHED_NOTFOUND);
    CHECK(result.number == ETIMEDOUT);
    CHECK(memcached_last_error(mine.get()) == MEMCACHED_ERRNO);
    const auto not_set = with_deadline([&] { return set(mine, "key", "value"); });
    CHECK(not_set.code == MEMCACHED_ERRNO);
    CHECK(not_set.number == ETIMEDOUT);
    stopped.resume();
    // The handle connects anew.
    CHECK(in_a_fiber([&] {
              memcached_quit(mine.get());
              return set(mine, "key", "value");
          }).code == MEMCACHED_SUCCESS);
}

TEST_CASE_FIXTURE(with_cache, "a deadline ends libmemcached's connecting with an error of libmemcached's") {
    const full_port full;
    const auto result = with_deadline([&] {
        const auto mine = make_patient_handle(full.port());
        memcached_behavior_set(mine.get(), MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, 30'000);
        return get(mine, "key");
    });
    CHECK(memcached_failed(result.code));
    CHECK(result.number == ETIMEDOUT);
}

TEST_CASE_FIXTURE(with_cache, "cancellation ends memcached_set with an error of libmemcached's") {
    const paused stopped{cache().process};
    const auto mine = make_patient_handle();
    const auto result = with_cancellation([&] { return set(mine, "key", "value"); });
    CHECK(result.code == MEMCACHED_ERRNO);
    CHECK(result.number == ECANCELED);
}

} // namespace clients
