// SPDX-License-Identifier: BSL-1.0
// Unmodified libmosquitto in fibers, with the broker mosquitto.
#include "server.hpp"
#include "together.hpp"

#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <mosquitto.h>
#include <signal.h>

#include <cerrno>
#include <condition_variable>
#include <fstream>
#include <memory>
#include <mutex>
#include <ostream>
#include <utility>
#include <vector>

namespace clients {
namespace {

// ---- the server -----------------------------------------------------------------------------------------------------

struct mosquitto_server {
    mosquitto_server()
    {
        std::ofstream{process.directory() / "config"} << "listener " << port << " 127.0.0.1\n"
                                                      << "allow_anonymous true\n"
                                                         "persistence false\n"
                                                         "max_queued_messages 0\n";
        process.start("exec " + program("mosquitto", "mosquitto") + " -c config", "nobody", SIGTERM);
    }
    bool is_ready() const { return accepts_connections(port); }

    server_process process{"mosquitto"};
    int port = free_port();
};

mosquitto_server& broker()
{
    [[maybe_unused]] static const auto once = [] {
        ::signal(SIGPIPE, SIG_IGN);
        return mosquitto_lib_init();
    }();
    return shared<mosquitto_server>();
}

struct with_broker {
    with_broker() { broker(); }
};

// ---- libmosquitto as anybody uses it --------------------------------------------------------------------------------

struct answer {
    int code = MOSQ_ERR_SUCCESS;
    int number = 0; ///< errno, where the code says that it matters
    std::string text;

    friend bool operator==(const answer&, const answer&) = default;
    friend std::ostream& operator<<(std::ostream& out, const answer& it)
    {
        return out << "{" << it.code << " " << mosquitto_strerror(it.code) << ", errno " << it.number << ", "
                   << it.text.size() << " bytes: " << it.text.substr(0, 60) << "}";
    }
};

answer answer_of(int code)
{
    return {code, code == MOSQ_ERR_ERRNO ? errno : 0, {}};
}

/// A client, with what has happened to it since.
class client {
public:
    client()
    {
        mosquitto_connect_callback_set(handle_.get(), [](mosquitto*, void* self, int code) {
            auto& it = *static_cast<client*>(self);
            it.connected = true;
            it.refused = code;
        });
        mosquitto_subscribe_callback_set(handle_.get(), [](mosquitto*, void* self, int, int, const int*) {
            static_cast<client*>(self)->subscribed = true;
        });
        mosquitto_publish_callback_set(handle_.get(),
                                       [](mosquitto*, void* self, int) { ++static_cast<client*>(self)->published; });
        mosquitto_message_callback_set(handle_.get(), [](mosquitto*, void* self, const mosquitto_message* message) {
            auto& it = *static_cast<client*>(self);
            ++it.received;
            it.text.append(static_cast<const char*>(message->payload), static_cast<std::size_t>(message->payloadlen));
        });
    }
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    mosquitto* get() const noexcept { return handle_.get(); }

    /// Runs libmosquitto's loop until `done` or an error.
    template <class Done> answer run_until(Done done)
    {
        while (!done())
            if (const auto now = answer_of(mosquitto_loop(handle_.get(), 30'000, 1)); now.code != MOSQ_ERR_SUCCESS)
                return now;
        return {};
    }

    answer connect(int port = broker().port, const char* host = "127.0.0.1")
    {
        if (const auto now = answer_of(mosquitto_connect(handle_.get(), host, port, 60)); now.code != MOSQ_ERR_SUCCESS)
            return now;
        return run_until([&] { return connected; });
    }

    answer subscribe(const char* topic)
    {
        mosquitto_subscribe(handle_.get(), nullptr, topic, 2);
        return run_until([&] { return subscribed; });
    }

    answer publish(const char* topic, const std::string& text, int quality = 1, bool retain = false)
    {
        const int wanted = published + 1;
        mosquitto_publish(handle_.get(), nullptr, topic, static_cast<int>(text.size()), text.data(), quality, retain);
        return run_until([&] { return published >= wanted; });
    }

    /// What has come, once there are so many messages.
    answer receive(int messages)
    {
        auto result = run_until([&] { return received >= messages; });
        result.text = std::exchange(text, {});
        return result;
    }

    bool connected = false;
    bool subscribed = false;
    int refused = 0;
    int published = 0;
    int received = 0;
    std::string text;

private:
    struct destroy {
        void operator()(mosquitto* handle) const noexcept { mosquitto_destroy(handle); }
    };
    std::unique_ptr<mosquitto, destroy> handle_{mosquitto_new(nullptr, true, this)};
};

answer publish(const char* topic, const std::string& text, bool retain = false)
{
    client mine;
    if (const auto now = mine.connect(); now.code != MOSQ_ERR_SUCCESS)
        return now;
    return mine.publish(topic, text, 1, retain);
}

/// One message, as libmosquitto's shorthand fetches it.
answer receive_simply(const char* topic, int port = broker().port)
{
    mosquitto_message* message = nullptr;
    auto result = answer_of(mosquitto_subscribe_simple(&message, 1, true, topic, 1, "127.0.0.1", port, nullptr, 60,
                                                       true, nullptr, nullptr, nullptr, nullptr));
    if (message)
        result.text.assign(static_cast<const char*>(message->payload), static_cast<std::size_t>(message->payloadlen));
    mosquitto_message_free(&message);
    return result;
}

void check_many_at_once(std::size_t count)
{
    allow_many_descriptors();
    std::vector<answer> answers(count);
    // A retained message reaches those too who subscribe later.
    const auto most = together(
        count, [&](std::size_t i) { answers[i] = receive_simply("gate"); }, [] { publish("gate", "open", true); });
    const auto expected = natively([] { return receive_simply("gate"); });
    CHECK(expected.text == "open");
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
    publish("gate", "", true);
}

} // namespace

// ---- many at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "thirty fibers wait for a message with libmosquitto at once, on one thread") {
    check_many_at_once(30);
}

TEST_CASE_FIXTURE(with_broker, "three hundred fibers wait for a message with libmosquitto at once, on one thread") {
    // Each has three descriptors, and libmosquitto calls select: its numbers end at 1024.
    check_many_at_once(300);
}

// ---- as native ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "messages of each quality of service with libmosquitto are as native") {
    for (const int quality : {0, 1, 2}) {
        CAPTURE(quality);
        const auto heard = check_native_pair([&](auto&& both) {
            client listener;
            listener.connect();
            listener.subscribe("news/#");
            answer all;
            both([&] { all = listener.receive(200); },
                 [&] {
                     client speaker;
                     speaker.connect();
                     for (int i = 0; i < 200; ++i)
                         speaker.publish("news/today", std::to_string(i) + ";", quality);
                 });
            return all;
        });
        CHECK(heard.code == MOSQ_ERR_SUCCESS);
        CHECK(heard.text.starts_with("0;1;2;"));
        CHECK(heard.text.ends_with(";198;199;"));
    }
}

TEST_CASE_FIXTURE(with_broker, "a message of five megabytes with libmosquitto is as native") {
    std::string text;
    while (text.size() < 5'000'000)
        text += std::to_string(text.size());
    const auto there_and_back = [&](const std::string& topic) {
        client mine;
        mine.connect();
        mine.subscribe(topic.c_str());
        mosquitto_publish(mine.get(), nullptr, topic.c_str(), static_cast<int>(text.size()), text.data(), 1, false);
        return mine.receive(1).text == text;
    };
    CHECK(natively([&] { return there_and_back("large"); }));
    std::vector<int> results(5);
    const auto most =
        together(results.size(), [&](std::size_t i) { results[i] = there_and_back("large" + std::to_string(i)); });
    CHECK(results == std::vector<int>(5, 1));
    CHECK(most.threads == 1);
}

TEST_CASE_FIXTURE(with_broker, "libmosquitto's own thread works for a fiber as natively") {
    // The callbacks come on that thread, and what it locks the fiber locks.
    const auto result = check_native([] {
        client mine;
        std::mutex mutex;
        std::condition_variable changed;
        std::string all;
        struct shared_state {
            std::mutex& mutex;
            std::condition_variable& changed;
            std::string& all;
        } state{mutex, changed, all};
        mosquitto_user_data_set(mine.get(), &state);
        mosquitto_connect_callback_set(
            mine.get(), [](mosquitto* handle, void*, int) { mosquitto_subscribe(handle, nullptr, "thread", 1); });
        mosquitto_subscribe_callback_set(mine.get(), [](mosquitto* handle, void*, int, int, const int*) {
            mosquitto_publish(handle, nullptr, "thread", 5, "hello", 1, false);
        });
        mosquitto_publish_callback_set(mine.get(), nullptr);
        mosquitto_message_callback_set(mine.get(), [](mosquitto*, void* untyped, const mosquitto_message* message) {
            auto& shared = *static_cast<shared_state*>(untyped);
            const std::lock_guard held{shared.mutex};
            shared.all.assign(static_cast<const char*>(message->payload),
                              static_cast<std::size_t>(message->payloadlen));
            shared.changed.notify_one();
        });
        mosquitto_loop_start(mine.get());
        mosquitto_connect(mine.get(), "127.0.0.1", broker().port, 60);
        {
            std::unique_lock held{mutex};
            changed.wait(held, [&] { return !all.empty(); });
        }
        mosquitto_disconnect(mine.get());
        mosquitto_loop_stop(mine.get(), false);
        return all;
    });
    CHECK(result == "hello");
}

TEST_CASE_FIXTURE(with_broker, "libmosquitto's sockets have the flags that they have natively") {
    // It makes them non-blocking itself.
    const auto before = nonblocking_sockets();
    check_native([&] {
        client mine;
        mine.connect();
        return nonblocking_sockets() - before;
    });
}

// ---- failures -------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "a failed connection with libmosquitto is as native") {
    const auto failure = [](int port, const char* host) {
        return check_native([&] {
            client mine;
            return mine.connect(port, host);
        });
    };
    const auto refused = failure(free_port(), "127.0.0.1");
    CHECK(refused.code == MOSQ_ERR_ERRNO);
    CHECK(refused.number == ECONNREFUSED);
    CHECK(failure(1, "nowhere.invalid").code == MOSQ_ERR_EAI);
}

TEST_CASE("a broker that is killed midway is libmosquitto's own error, as native") {
    std::optional<mosquitto_server> server;
    start(server);
    const auto result = check_killed_midway(
        server->process,
        [&] {
            auto mine = std::make_unique<client>();
            mine->connect(server->port);
            return mine;
        },
        [](const std::unique_ptr<client>& mine) { return mine->receive(1); });
    CHECK(result.code == MOSQ_ERR_CONN_LOST);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "a deadline ends mosquitto_loop with an error of libmosquitto's") {
    client mine;
    mine.connect();
    mine.subscribe("late");
    const auto result = with_deadline([&] { return mine.receive(1); });
    CHECK(result.code == MOSQ_ERR_ERRNO);
    CHECK(result.number == ETIMEDOUT);
    // The connection is as good as before.
    publish("late", "message");
    CHECK(in_a_fiber([&] { return mine.receive(1); }).text == "message");
}

TEST_CASE_FIXTURE(with_broker, "a deadline ends mosquitto_connect with an error of libmosquitto's") {
    const full_port full;
    const auto result = with_deadline([&] {
        client mine;
        return mine.connect(full.port());
    });
    CHECK(result.code == MOSQ_ERR_ERRNO);
    CHECK(result.number == ETIMEDOUT);
}

TEST_CASE_FIXTURE(with_broker, "cancellation ends mosquitto_loop with an error of libmosquitto's") {
    client mine;
    mine.connect();
    mine.subscribe("late");
    const auto result = with_cancellation([&] { return mine.receive(1); });
    CHECK(result.code == MOSQ_ERR_ERRNO);
    CHECK(result.number == ECANCELED);
}

TEST_CASE_FIXTURE(with_broker, "a deadline ends mosquitto_subscribe_simple with an error of libmosquitto's") {
    const auto result = with_deadline([&] { return receive_simply("never"); });
    CHECK(result.code == MOSQ_ERR_ERRNO);
    CHECK(result.number == ETIMEDOUT);
}

} // namespace clients
