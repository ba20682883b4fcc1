// SPDX-License-Identifier: BSL-1.0
// Unmodified hiredis in fibers, with Redis.
#include "server.hpp"
#include "together.hpp"

#include <coir/event.hpp>
#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <hiredis/hiredis.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <ostream>
#include <vector>

namespace clients {
namespace {

redis_server& redis()
{
    [[maybe_unused]] static const auto once = ::signal(SIGPIPE, SIG_IGN); // hiredis writes to sockets that are closed
    return shared<redis_server>();
}

struct with_redis {
    with_redis() { redis(); }
};

// ---- hiredis as anybody uses it -------------------------------------------------------------------------------------

struct context_delete {
    void operator()(redisContext* context) const noexcept { redisFree(context); }
};
struct reply_delete {
    void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};
using context = std::unique_ptr<redisContext, context_delete>;
using reply = std::unique_ptr<redisReply, reply_delete>;

context connect(int port = redis().port)
{
    return context{redisConnect("127.0.0.1", port)};
}

std::string text_of(const redisReply& reply)
{
    switch (reply.type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS: return std::string{reply.str, static_cast<std::size_t>(reply.len)};
    case REDIS_REPLY_ERROR: return "error " + std::string{reply.str, static_cast<std::size_t>(reply.len)};
    case REDIS_REPLY_INTEGER: return std::to_string(reply.integer);
    case REDIS_REPLY_NIL: return "nil";
    case REDIS_REPLY_ARRAY: {
        std::string all;
        for (std::size_t i = 0; i < reply.elements; ++i)
            all += text_of(*reply.element[i]) + ";";
        return all;
    }
    default: return "type " + std::to_string(reply.type);
    }
}

/// All that can be seen of an answer.
struct answer {
    std::string text;
    int code = 0;      ///< of the context: REDIS_ERR_*
    std::string error; ///< of the context
    bool nonblocking = false;

    friend bool operator==(const answer&, const answer&) = default;
    friend std::ostream& operator<<(std::ostream& out, const answer& it)
    {
        return out << "{" << it.text.substr(0, 60) << " (" << it.text.size() << "), code " << it.code << " \""
                   << it.error << "\", O_NONBLOCK " << it.nonblocking << "}";
    }
};

answer answer_of(const context& from, const redisReply* reply)
{
    return {reply ? text_of(*reply) : "no reply", from->err, from->errstr, is_nonblocking(from->fd)};
}

template <class... Args> answer command(const context& to, const char* format, Args... args)
{
    const reply mine{static_cast<redisReply*>(redisCommand(to.get(), format, args...))};
    return answer_of(to, mine.get());
}

answer next_reply(const context& from)
{
    void* untyped = nullptr;
    redisGetReply(from.get(), &untyped);
    const reply mine{static_cast<redisReply*>(untyped)};
    return answer_of(from, mine.get());
}

/// Until Redis says that `number` clients are in a blocking command.
void wait_until_blocked(const context& control, int number)
{
    const auto wanted = "blocked_clients:" + std::to_string(number) + "\r";
    while (command(control, "INFO clients").text.find(wanted) == std::string::npos)
        ::usleep(5'000);
}

} // namespace

// ---- many at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_redis, "thirty fibers wait for Redis with hiredis at once, on one thread") {
    constexpr std::size_t count = 30;
    const auto request = [](const context& to) { return command(to, "BLPOP nothing 0.2"); };
    const auto expected = natively([&] { return request(connect()); });
    REQUIRE(expected.text == "nil");
    REQUIRE_FALSE(expected.nonblocking);
    std::vector<answer> answers(count);
    std::size_t connected = 0;
    coir::event all_connected;
    const auto most = together(count, [&](std::size_t i) {
        const auto mine = connect();
        if (++connected == count)
            all_connected.set();
        all_connected.wait();
        answers[i] = request(mine);
    });
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
    CHECK(most.nonblocking == 0);
}

TEST_CASE_FIXTURE(with_redis, "a thousand fibers wait for Redis with hiredis at once, on one thread") {
    allow_many_descriptors();
    constexpr std::size_t count = 1000;
    std::vector<std::string> answers(count);
    const auto control = connect();
    command(control, "DEL many");
    crowd most;
    coir::run([&] {
        coir::fiber_group requests;
        for (std::size_t i = 0; i < count; ++i)
            requests.spawn({.name = "request"}, [&, i] { answers[i] = command(connect(), "BLPOP many 30").text; });
        wait_until_blocked(control, count);
        most.look();
        for (std::size_t i = 0; i < count; ++i)
            command(control, "RPUSH many x");
        requests.join();
    });
    for (const auto& each : answers)
        CHECK(each == "many;x;");
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
    CHECK(most.nonblocking == 0);
}

// ---- as native ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_redis, "hiredis' commands are as native") {
    const auto one = [&](const char* text) { return check_native([&] { return command(connect(), text); }); };
    CHECK(one("PING").text == "PONG");
    CHECK(one("SET number 41").text == "OK");
    CHECK(one("GET number").text == "41");
    CHECK(one("GET nothing").text == "nil");
    CHECK(one("NOSUCH").text.starts_with("error "));
    CHECK(one("LPUSH number 1").text.starts_with("error WRONGTYPE"));
    CHECK(one("EVAL nonsense( 0").text.starts_with("error "));
    CHECK_FALSE(one("PING").nonblocking);
}

TEST_CASE_FIXTURE(with_redis, "a fiber that waits in BLPOP is given what another pushes") {
    const auto result = check_native_pair([&](auto&& both) {
        answer popped;
        both([&] { popped = command(connect(), "BLPOP list 30"); },
             [&] {
                 const auto mine = connect();
                 wait_until_blocked(mine, 1);
                 command(mine, "RPUSH list %s", "value");
             });
        return popped;
    });
    CHECK(result.text == "list;value;");
}

TEST_CASE_FIXTURE(with_redis, "pipelining with hiredis is as native") {
    const auto pipeline = [&] {
        const auto mine = connect();
        for (int i = 0; i < 10'000; ++i)
            redisAppendCommand(mine.get(), "ECHO %d", i);
        std::string all;
        for (int i = 0; i < 10'000; ++i)
            all += next_reply(mine).text + ";";
        return all;
    };
    const auto expected = natively(pipeline);
    CHECK(expected.ends_with(";9999;"));
    std::vector<std::string> results(10);
    together(results.size(), [&](std::size_t i) { results[i] = pipeline(); });
    for (const auto& each : results)
        CHECK((each == expected));
}

TEST_CASE_FIXTURE(with_redis, "publish and subscribe with hiredis is as native") {
    const auto heard = check_native_pair([&](auto&& both) {
        std::string all;
        both(
            [&] {
                const auto mine = connect();
                all += command(mine, "SUBSCRIBE news").text;
                for (int i = 0; i < 3; ++i)
                    all += next_reply(mine).text;
            },
            [&] {
                const auto mine = connect();
                while (command(mine, "PUBSUB NUMSUB news").text != "news;1;")
                    ::usleep(5'000);
                for (const char* each : {"one", "two", "three"})
                    command(mine, "PUBLISH news %s", each);
            });
        return all;
    });
    CHECK(heard == "subscribe;news;1;message;news;one;message;news;two;message;news;three;");
}

TEST_CASE_FIXTURE(with_redis, "large values with hiredis are as native") {
    std::string value(10'000'000, 'x');
    for (std::size_t i = 0; i < value.size(); i += 7)
        value[i] = static_cast<char>('a' + i % 26);
    const auto there_and_back = [&](int number) {
        const auto mine = connect();
        const auto key = "large" + std::to_string(number);
        const auto stored = command(mine, "SET %s %b", key.c_str(), value.data(), value.size());
        const auto back = command(mine, "GET %s", key.c_str());
        command(mine, "DEL %s", key.c_str());
        return stored.text == "OK" && back.text == value && back.code == 0;
    };
    CHECK(natively([&] { return there_and_back(0); }));
    std::vector<int> results(5);
    const auto most =
        together(results.size(), [&](std::size_t i) { results[i] = there_and_back(static_cast<int>(i)); });
    CHECK(results == std::vector<int>(5, 1));
    CHECK(most.nonblocking == 0);
}

// ---- failures -------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_redis, "a failed connection with hiredis is as native") {
    const auto connection_state = [](redisContext* made) {
        const context mine{made};
        return std::to_string(mine->err) + " " + mine->errstr;
    };
    const int nobody = free_port();
    SUBCASE("refused") {
        const auto refused = check_native([&] { return connection_state(redisConnect("127.0.0.1", nobody)); });
        CHECK(refused == std::to_string(REDIS_ERR_IO) + " Connection refused");
    }
    SUBCASE("refused, with a timeout") {
        const auto refused = check_native([&] {
            return connection_state(redisConnectWithTimeout("127.0.0.1", nobody, {.tv_sec = 5, .tv_usec = 0}));
        });
        CHECK(refused == std::to_string(REDIS_ERR_IO) + " Connection refused");
    }
    SUBCASE("accepted, with a timeout") {
        const auto accepted = check_native([&] {
            return connection_state(redisConnectWithTimeout("127.0.0.1", redis().port, {.tv_sec = 5, .tv_usec = 0}));
        });
        CHECK(accepted == "0 ");
    }
    SUBCASE("unknown host") {
        check_native([&] { return connection_state(redisConnect("nowhere.invalid", 1)); });
    }
}

TEST_CASE_FIXTURE(with_redis, "redisConnectWithTimeout gives up as natively") {
    const full_port full;
    const auto given_up = check_native([&] {
        const context mine{redisConnectWithTimeout("127.0.0.1", full.port(), {.tv_sec = 0, .tv_usec = 200'000})};
        return std::to_string(mine->err) + " " + mine->errstr;
    });
    CHECK(given_up == std::to_string(REDIS_ERR_IO) + " Connection timed out");
}

TEST_CASE_FIXTURE(with_redis, "redisSetTimeout's time-out is as native") {
    const auto result = check_native([&] {
        const auto mine = connect();
        redisSetTimeout(mine.get(), {.tv_sec = 0, .tv_usec = 200'000});
        return command(mine, "BLPOP nothing 10");
    });
    CHECK(result.code == REDIS_ERR_IO);
    CHECK(result.error == "Resource temporarily unavailable");
}

TEST_CASE_FIXTURE(with_redis, "a connection that Redis closes midway is hiredis' own error, as native") {
    const auto result = check_native_pair([&](auto&& both) {
        answer popped;
        both(
            [&] {
                const auto mine = connect();
                command(mine, "CLIENT SETNAME victim");
                popped = command(mine, "BLPOP nothing 30");
            },
            [&] {
                const auto mine = connect();
                wait_until_blocked(mine, 1);
                command(mine, "CLIENT KILL TYPE normal SKIPME yes");
            });
        return popped;
    });
    CHECK(result.text == "no reply");
    CHECK(result.code == REDIS_ERR_EOF);
}

TEST_CASE("a Redis server that is killed midway is hiredis' own error, as native") {
    std::optional<redis_server> server;
    start(server);
    const auto result = check_killed_midway(
        server->process, [&] { return connect(server->port); }, [](const context& to) { return command(to, "PING"); });
    CHECK(result.text == "no reply");
    CHECK(result.code == REDIS_ERR_IO);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_redis, "a deadline ends redisCommand with an error of hiredis'") {
    auto mine = connect();
    const auto result = with_deadline([&] { return command(mine, "BLPOP nothing 10"); });
    CHECK(result.text == "no reply");
    CHECK(result.code == REDIS_ERR_IO);
    CHECK(result.error == "Connection timed out");
    CHECK(in_a_fiber([&] {
              mine = connect();
              return command(mine, "PING");
          }).text == "PONG");
}

TEST_CASE_FIXTURE(with_redis, "cancellation ends redisCommand with an error of hiredis'") {
    const auto mine = connect();
    const auto result = with_cancellation([&] { return command(mine, "BLPOP nothing 10"); });
    CHECK(result.text == "no reply");
    CHECK(result.code == REDIS_ERR_IO);
    CHECK(result.error == "Operation canceled");
}

} // namespace clients
