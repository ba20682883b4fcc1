// SPDX-License-Identifier: BSL-1.0
// Unmodified librabbitmq in fibers, with RabbitMQ.
#include "server.hpp"
#include "together.hpp"

#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <signal.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <ostream>
#include <string_view>
#include <vector>

namespace clients {
namespace {

// ---- the server -----------------------------------------------------------------------------------------------------

/// Starts in some seconds. Erlang wants a name server; this one is its own.
struct rabbitmq_server {
    rabbitmq_server()
    {
        const auto rabbitmq = program("rabbitmq-server", "rabbitmq-server");
        const auto epmd = program("epmd", "erlang-base");
        const auto names = std::to_string(free_port());
        std::ofstream{process.directory() / "enabled_plugins"} << "[].\n";
        // Erlang's own format is read faster than the newer one, which is translated to it.
        std::ofstream{process.directory() / "rabbitmq.config"}
            << "[{rabbit, [{tcp_listeners, [{\"127.0.0.1\", " << port
            << "}]}, {disk_free_limit, 1000000}, {log, [{console, [{level, warning}]}]}]}].\n";
        process.start(
            epmd + " -address 127.0.0.1 -port " + names +
                " & export HOME=\"$PWD\" RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE=\"$PWD/rabbitmq.config\""
                " RABBITMQ_ENABLED_PLUGINS_FILE=\"$PWD/enabled_plugins\" RABBITMQ_MNESIA_BASE=\"$PWD/mnesia\""
                " RABBITMQ_LOG_BASE=\"$PWD/logs\" RABBITMQ_LOGS=- RABBITMQ_PID_FILE=\"$PWD/own-pid\""
                " RABBITMQ_NODENAME=test@localhost ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=" +
                names + " RABBITMQ_DIST_PORT=" + std::to_string(free_port()) +
                " RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} +S 1:1'; exec " +
                rabbitmq,
            "nobody", SIGKILL); // what it has stored is of no use to anybody
    }
    bool is_ready() const { return accepts_connections(port); }

    server_process process{"rabbitmq"};
    int port = free_port();
};

rabbitmq_server& broker()
{
    [[maybe_unused]] static const auto once = ::signal(SIGPIPE, SIG_IGN);
    return shared<rabbitmq_server>();
}

struct with_broker {
    with_broker() { broker(); }
};

// ---- librabbitmq as anybody uses it ---------------------------------------------------------------------------------

std::string text_of(amqp_bytes_t bytes)
{
    return std::string{static_cast<const char*>(bytes.bytes), bytes.len};
}

amqp_bytes_t bytes_of(std::string& text)
{
    return {text.size(), text.data()};
}

struct answer {
    int type = AMQP_RESPONSE_NORMAL;
    int code = AMQP_STATUS_OK; ///< the library's, or the broker's
    std::string text;          ///< the broker's explanation, or a message's body

    friend bool operator==(const answer&, const answer&) = default;
    friend std::ostream& operator<<(std::ostream& out, const answer& it)
    {
        return out << "{type " << it.type << ", " << it.code << " "
                   << (it.type == AMQP_RESPONSE_LIBRARY_EXCEPTION ? amqp_error_string2(it.code) : "") << ": "
                   << it.text.size() << " bytes: " << it.text.substr(0, 60) << "}";
    }
};

answer answer_of(int status)
{
    return {status == AMQP_STATUS_OK ? AMQP_RESPONSE_NORMAL : AMQP_RESPONSE_LIBRARY_EXCEPTION, status, {}};
}

answer answer_of(const amqp_rpc_reply_t& reply)
{
    answer result{reply.reply_type, 0, {}};
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        result.code = reply.library_error;
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const auto& close = *static_cast<amqp_channel_close_t*>(reply.reply.decoded);
        result.code = close.reply_code;
        result.text = text_of(close.reply_text);
    }
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const auto& close = *static_cast<amqp_connection_close_t*>(reply.reply.decoded);
        result.code = close.reply_code;
        result.text = text_of(close.reply_text);
    }
    return result;
}

/// A connection with one channel.
class client {
public:
    client() = default;
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    answer connect(int port = broker().port, const char* host = "127.0.0.1", const char* password = "guest")
    {
        amqp_socket_t* const socket = amqp_tcp_socket_new(get());
        if (const int status = amqp_socket_open(socket, host, port); status != AMQP_STATUS_OK)
            return answer_of(status);
        const auto login = amqp_login(get(), "/", 0, 131'072, 0, AMQP_SASL_METHOD_PLAIN, "guest", password);
        if (login.reply_type != AMQP_RESPONSE_NORMAL)
            return answer_of(login);
        amqp_channel_open(get(), 1);
        return last();
    }

    answer last() const { return answer_of(amqp_get_rpc_reply(get())); }

    answer declare(std::string queue, bool passive = false)
    {
        amqp_queue_declare(get(), 1, bytes_of(queue), passive, false, false, true, amqp_empty_table);
        return last();
    }

    answer publish(std::string queue, std::string text)
    {
        return answer_of(
            amqp_basic_publish(get(), 1, amqp_empty_bytes, bytes_of(queue), true, false, nullptr, bytes_of(text)));
    }

    /// From now on this client is given messages: one that is not acknowledged, or as many as there are.
    answer consume(std::string queue, bool one = false)
    {
        if (one)
            amqp_basic_qos(get(), 1, 0, 1, false);
        amqp_basic_consume(get(), 1, bytes_of(queue), amqp_empty_bytes, false, !one, false, amqp_empty_table);
        return last();
    }

    answer receive(const timeval* limit = nullptr)
    {
        amqp_maybe_release_buffers(get());
        amqp_envelope_t envelope;
        auto result = answer_of(amqp_consume_message(get(), &envelope, limit, 0));
        if (result.type == AMQP_RESPONSE_NORMAL) {
            result.text = text_of(envelope.message.body);
            delivery_ = envelope.delivery_tag;
            amqp_destroy_envelope(&envelope);
        }
        return result;
    }

    void acknowledge() { amqp_basic_ack(get(), 1, delivery_, false); }

    answer close() { return answer_of(amqp_connection_close(get(), AMQP_REPLY_SUCCESS)); }

    amqp_connection_state_t get() const noexcept { return state_.get(); }

private:
    std::uint64_t delivery_ = 0;
    struct destroy {
        void operator()(amqp_connection_state_t state) const noexcept { amqp_destroy_connection(state); }
    };
    std::unique_ptr<amqp_connection_state_t_, destroy> state_{amqp_new_connection()};
};

/// A client that consumes from a queue of its own.
std::unique_ptr<client> make_consumer(const std::string& queue, int port = broker().port)
{
    auto mine = std::make_unique<client>();
    mine->connect(port);
    mine->declare(queue);
    mine->consume(queue);
    return mine;
}

void check_many_at_once(std::size_t count)
{
    allow_many_descriptors();
    client control;
    REQUIRE(control.connect().type == AMQP_RESPONSE_NORMAL);
    REQUIRE(control.declare("gate").type == AMQP_RESPONSE_NORMAL);
    REQUIRE(control.consume("gate", true).type == AMQP_RESPONSE_NORMAL); // or it is deleted with its last consumer
    REQUIRE((control.publish("gate", "through"), control.receive().text) == "through");
    const auto request = [] {
        client mine;
        mine.connect();
        mine.consume("gate", true);
        auto result = mine.receive();
        mine.acknowledge();
        mine.close();
        return result;
    };
    control.publish("gate", "through");
    const auto expected = natively(request);
    REQUIRE(expected.text == "through");

    std::vector<answer> answers(count);
    const auto most = together(
        count, [&](std::size_t i) { answers[i] = request(); },
        [&] {
            for (std::size_t i = 0; i < count; ++i)
                control.publish("gate", "through");
        });
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

} // namespace

// ---- many at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "thirty fibers wait for a message with librabbitmq at once, on one thread") {
    check_many_at_once(30);
}

TEST_CASE_FIXTURE(with_broker, "two hundred fibers wait for a message with librabbitmq at once, on one thread") {
    check_many_at_once(200);
}

// ---- as native ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "messages with librabbitmq are as native") {
    const auto heard = check_native_pair([](auto&& both) {
        const auto listener = make_consumer("news");
        std::string all;
        both(
            [&] {
                for (int i = 0; i < 500; ++i)
                    all += listener->receive().text;
            },
            [&] {
                client speaker;
                speaker.connect();
                for (int i = 0; i < 500; ++i)
                    speaker.publish("news", std::to_string(i) + ";");
                speaker.close();
            });
        listener->close();
        return all;
    });
    CHECK(heard.starts_with("0;1;2;"));
    CHECK(heard.ends_with(";498;499;"));
}

TEST_CASE_FIXTURE(with_broker, "a message of five megabytes with librabbitmq is as native") {
    std::string text;
    while (text.size() < 5'000'000)
        text += std::to_string(text.size());
    const auto there_and_back = [&](const std::string& queue) {
        const auto mine = make_consumer(queue);
        mine->publish(queue, text);
        return mine->receive().text == text;
    };
    CHECK(natively([&] { return there_and_back("large"); }));
    std::vector<int> results(5);
    const auto most =
        together(results.size(), [&](std::size_t i) { results[i] = there_and_back("large" + std::to_string(i)); });
    CHECK(results == std::vector<int>(5, 1));
    CHECK(most.threads == 1);
}

TEST_CASE_FIXTURE(with_broker, "librabbitmq's socket has the flags that it has natively") {
    check_native([] {
        client mine;
        mine.connect();
        return is_nonblocking(amqp_get_sockfd(mine.get()));
    });
}

// ---- failures -------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "what the broker refuses is as native with librabbitmq") {
    const auto missing = check_native([] {
        client mine;
        mine.connect();
        return mine.declare("none", true);
    });
    CHECK(missing.type == AMQP_RESPONSE_SERVER_EXCEPTION);
    CHECK(missing.code == AMQP_NOT_FOUND);
}

TEST_CASE_FIXTURE(with_broker, "a failed connection with librabbitmq is as native") {
    const auto failure = [](int port, const char* host) {
        return check_native([&] {
            client mine;
            return mine.connect(port, host);
        });
    };
    CHECK(failure(free_port(), "127.0.0.1").code == AMQP_STATUS_SOCKET_ERROR);
    CHECK(failure(1, "nowhere.invalid").code == AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED);
}

TEST_CASE_FIXTURE(with_broker, "librabbitmq's own time-outs are as native") {
    const timeval limit{.tv_sec = 0, .tv_usec = 100'000};
    const auto nothing = check_native([&] { return make_consumer("nothing")->receive(&limit); });
    CHECK(nothing.code == AMQP_STATUS_TIMEOUT);
    const full_port full;
    const auto unconnected = check_native([&] {
        const client mine;
        return answer_of(amqp_socket_open_noblock(amqp_tcp_socket_new(mine.get()), "127.0.0.1", full.port(), &limit));
    });
    CHECK(unconnected.code == AMQP_STATUS_TIMEOUT);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "a deadline ends amqp_consume_message with an error of librabbitmq's") {
    const auto mine = make_consumer("late");
    const auto result = with_deadline([&] { return mine->receive(); });
    CHECK(result.type == AMQP_RESPONSE_LIBRARY_EXCEPTION);
    CHECK(result.code == AMQP_STATUS_SOCKET_ERROR);
    // The connection is as good as before.
    in_a_fiber([&] {
        mine->publish("late", "message");
        CHECK(mine->receive().text == "message");
        return mine->close();
    });
}

TEST_CASE_FIXTURE(with_broker, "a deadline ends librabbitmq's connecting with an error of librabbitmq's") {
    const silent_port silent;
    const auto unanswered = with_deadline([&] {
        client mine;
        return mine.connect(silent.port());
    });
    CHECK(unanswered.code == AMQP_STATUS_SOCKET_ERROR);
    const full_port full;
    const auto unconnected = with_deadline([&] {
        client mine;
        return mine.connect(full.port());
    });
    CHECK(unconnected.code == AMQP_STATUS_SOCKET_ERROR);
}

TEST_CASE_FIXTURE(with_broker, "cancellation ends amqp_consume_message with an error of librabbitmq's") {
    const auto mine = make_consumer("late");
    const auto result = with_cancellation([&] { return mine->receive(); });
    CHECK(result.code == AMQP_STATUS_SOCKET_ERROR);
}

// ---- the end
// ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_broker, "a broker that is killed midway is librabbitmq's own error, as native") {
    // The one that the others share, and last, because starting one takes seconds.
    int number = 0;
    const auto result = check_killed_midway(
        broker().process, [&] { return make_consumer("killed" + std::to_string(++number)); },
        [](const std::unique_ptr<client>& mine) { return mine->receive(); });
    CHECK(result.type == AMQP_RESPONSE_LIBRARY_EXCEPTION);
    CHECK(result.code == AMQP_STATUS_SOCKET_ERROR);
}

} // namespace clients
