// SPDX-License-Identifier: BSL-1.0
// Unmodified libpq in fibers, with PostgreSQL.
#include "server.hpp"
#include "together.hpp"

#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <ostream>
#include <vector>

namespace clients {
namespace {

// ---- the server -----------------------------------------------------------------------------------------------------

struct postgres_server {
    postgres_server()
    {
        const auto initdb = program("initdb", "postgresql");
        const auto postgres = program("postgres", "postgresql");
        std::ofstream{process.directory() / "password"} << "secret\n";
        std::ofstream{process.directory() / "hba.conf"} << "local all all trust\n"
                                                           "host all locked 127.0.0.1/32 scram-sha-256\n"
                                                           "host all all 127.0.0.1/32 trust\n";
        process.start(
            initdb + " -D data -U tester -A trust -E UTF8 --locale=C -N >initdb.log && exec " + postgres +
                " -D data -p " + std::to_string(port) +
                " -c listen_addresses=127.0.0.1 -c unix_socket_directories=\"$PWD\" -c hba_file=\"$PWD/hba.conf\""
                " -c fsync=off -c max_connections=150 -c ssl=off -c logging_collector=off",
            "postgres", SIGINT);
    }
    bool is_ready() const { return PQping(address().c_str()) == PQPING_OK; }

    std::string address() const { return "host=127.0.0.1 port=" + std::to_string(port) + common; }
    std::string local_address() const
    {
        return "host=" + process.directory().string() + " port=" + std::to_string(port) + common;
    }

    /// Nothing that the machine's own configuration could change.
    static constexpr const char* common = " user=tester dbname=postgres sslmode=disable gssencmode=disable";

    server_process process{"postgres"};
    int port = free_port();
};

postgres_server& database()
{
    return shared<postgres_server>();
}

struct with_database {
    with_database() { database(); }
};

// ---- libpq as anybody uses it ---------------------------------------------------------------------------------------

struct finish {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};
struct clear {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using connection = std::unique_ptr<PGconn, finish>;
using rows = std::unique_ptr<PGresult, clear>;

connection connect(const std::string& address = database().address())
{
    return connection{PQconnectdb(address.c_str())};
}

/// All that can be seen of a result.
struct answer {
    ExecStatusType status = PGRES_EMPTY_QUERY;
    std::string error;
    std::string state; ///< SQLSTATE
    std::string values;
    bool alive = false;       ///< whether the connection still is
    bool nonblocking = false; ///< whether its socket has O_NONBLOCK

    friend bool operator==(const answer&, const answer&) = default;
    friend std::ostream& operator<<(std::ostream& out, const answer& it)
    {
        return out << "{" << PQresStatus(it.status) << " " << it.state << " \"" << it.error << "\", "
                   << it.values.size() << " bytes: " << it.values.substr(0, 40) << ", alive " << it.alive
                   << ", O_NONBLOCK " << it.nonblocking << "}";
    }
};

answer query(const connection& to, const std::string& sql)
{
    answer result;
    const rows all{PQexec(to.get(), sql.c_str())};
    result.status = PQresultStatus(all.get());
    result.error = all ? PQresultErrorMessage(all.get()) : PQerrorMessage(to.get());
    if (const char* state = PQresultErrorField(all.get(), PG_DIAG_SQLSTATE))
        result.state = state;
    for (int row = 0; row < PQntuples(all.get()); ++row)
        for (int column = 0; column < PQnfields(all.get()); ++column)
            result.values.append(PQgetvalue(all.get(), row, column)).append(";");
    result.alive = PQstatus(to.get()) == CONNECTION_OK;
    if (PQsocket(to.get()) >= 0)
        result.nonblocking = is_nonblocking(PQsocket(to.get()));
    return result;
}

/// Until the connection's backend is in pg_sleep.
void wait_until_asleep(int backend, const std::string& address)
{
    const auto mine = connect(address);
    while (query(mine, "select wait_event from pg_stat_activity where pid = " + std::to_string(backend)).values !=
           "PgSleep;")
        ::usleep(5'000);
}

} // namespace

// ---- many at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_database, "thirty fibers wait for PostgreSQL with libpq at once, on one thread") {
    constexpr std::size_t count = 30;
    const char* sql = "select 'slept', pg_sleep(0.2)";
    const auto expected = natively([&] { return query(connect(), sql); });
    REQUIRE(expected.status == PGRES_TUPLES_OK);
    std::vector<answer> answers(count);
    std::size_t connected = 0;
    coir::event all_connected;
    const auto most = together(count, [&](std::size_t i) {
        // Connecting takes PostgreSQL a process each; what is counted begins when all are there.
        const auto mine = connect();
        if (++connected == count)
            all_connected.set();
        all_connected.wait();
        answers[i] = query(mine, sql);
    });
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

TEST_CASE_FIXTURE(with_database, "a thousand fibers share twenty libpq connections") {
    coir::channel<connection> pool{20};
    for (std::size_t i = 0; i < pool.capacity(); ++i)
        REQUIRE(pool.try_send(connect()));
    std::vector<int> numbers(1000);
    const auto most = together(numbers.size(), [&](std::size_t i) {
        auto mine = pool.receive();
        REQUIRE(mine);
        numbers[i] = std::stoi(query(*mine, "select " + std::to_string(i) + " from pg_sleep(0.01)").values);
        pool.send(std::move(*mine));
    });
    for (std::size_t i = 0; i < numbers.size(); ++i)
        CHECK(numbers[i] == static_cast<int>(i));
    CHECK(most.waiting <= pool.capacity());
    CHECK(most.threads == 1);
    CHECK(pool.size() == pool.capacity());
}

// ---- as native ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_database, "libpq's queries are as native") {
    for (const auto& address : {database().address(), database().local_address()}) {
        const auto one = [&](const char* sql) { return check_native([&] { return query(connect(address), sql); }); };
        CHECK(one("select 1, 'two', null").values == "1;two;;");
        CHECK(one("").status == PGRES_EMPTY_QUERY);
        CHECK(one("select from where").state == "42601");
        CHECK(one("select 1 / 0").state == "22012");
        CHECK(one("select pg_sleep(0.05); select 2").values == "2;");
        CHECK(one("set statement_timeout = '50ms'; select pg_sleep(10)").state == "57014");
    }
}

TEST_CASE_FIXTURE(with_database, "a result of three megabytes through libpq is as native") {
    const char* sql = "select repeat(chr(65 + n % 26), 3000) from generate_series(1, 1000) n";
    for (const auto& address : {database().address(), database().local_address()}) {
        const auto result = check_native([&] { return query(connect(address), sql); });
        CHECK(result.values.size() == 1000 * 3001);
    }
    // A value that is sent is as large as one that is received.
    const auto sent = check_native([&] {
        const auto mine = connect();
        const std::string text(3'000'000, 'x');
        const char* values[] = {text.c_str()};
        const rows result{
            PQexecParams(mine.get(), "select length($1), md5($1)", 1, nullptr, values, nullptr, nullptr, 0)};
        return std::string{PQgetvalue(result.get(), 0, 0)} + " " + PQgetvalue(result.get(), 0, 1);
    });
    CHECK(sent.starts_with("3000000 "));
}

TEST_CASE_FIXTURE(with_database, "COPY in both directions through libpq is as native") {
    const auto copy = [&] {
        const auto mine = connect();
        std::string result = query(mine, "create temporary table lines (number int, line text)").error;
        result += PQresStatus(PQresultStatus(rows{PQexec(mine.get(), "copy lines from stdin")}.get()));
        for (int i = 0; i < 20'000; ++i) {
            const auto line = std::to_string(i) + "\t" + std::string(static_cast<std::size_t>(i % 200), 'x') + "\n";
            if (PQputCopyData(mine.get(), line.data(), static_cast<int>(line.size())) != 1)
                result += PQerrorMessage(mine.get());
        }
        if (PQputCopyEnd(mine.get(), nullptr) != 1)
            result += PQerrorMessage(mine.get());
        while (const rows each{PQgetResult(mine.get())})
            result += std::string{PQresStatus(PQresultStatus(each.get()))} + PQcmdTuples(each.get());

        result += PQresStatus(PQresultStatus(rows{PQexec(mine.get(), "copy lines to stdout")}.get()));
        char* line = nullptr;
        int size;
        while ((size = PQgetCopyData(mine.get(), &line, 0)) > 0) {
            result.append(line, static_cast<std::size_t>(size));
            PQfreemem(line);
        }
        while (const rows each{PQgetResult(mine.get())})
            result += std::string{PQresStatus(PQresultStatus(each.get()))} + PQcmdTuples(each.get());
        return result;
    };
    const auto expected = natively(copy);
    CHECK(expected.size() > 2'000'000);
    CHECK(expected.ends_with("PGRES_COMMAND_OK20000"));
    CHECK((in_a_fiber(copy) == expected));
    std::vector<std::string> results(5);
    together(results.size(), [&](std::size_t i) { results[i] = copy(); });
    for (const auto& each : results)
        CHECK((each == expected));
}

TEST_CASE_FIXTURE(with_database, "a fiber waits for NOTIFY as libpq's manual says, with PQsocket and poll") {
    const auto heard = check_native_pair([](auto&& both) {
        std::string all;
        const auto listener = connect();
        query(listener, "listen bell");
        both(
            [&] {
                while (all.size() < 10) {
                    pollfd one{.fd = PQsocket(listener.get()), .events = POLLIN, .revents = 0};
                    if (::poll(&one, 1, -1) != 1 || !PQconsumeInput(listener.get()))
                        return;
                    while (PGnotify* ring = PQnotifies(listener.get())) {
                        all += std::string{ring->relname} + ring->extra;
                        PQfreemem(ring);
                    }
                }
            },
            [&] {
                const auto mine = connect();
                for (const char* sql : {"notify bell, '1'", "select pg_sleep(0.1)", "notify bell, '2'"})
                    query(mine, sql);
            });
        return all;
    });
    CHECK(heard == "bell1bell2");
}

TEST_CASE_FIXTURE(with_database, "fibers' transactions through libpq wait for each other in the server") {
    {
        const auto mine = connect();
        query(mine, "create table counter (value int); insert into counter values (0)");
    }
    std::vector<std::string> errors(10);
    together(errors.size(), [&](std::size_t i) {
        const auto mine = connect();
        for (const char* sql : {"begin", "select value from counter for update", "select pg_sleep(0.02)",
                                "update counter set value = value + 1", "commit"})
            errors[i] += query(mine, sql).error;
    });
    for (const auto& each : errors)
        CHECK(each == "");
    CHECK(query(connect(), "select value from counter").values == "10;");
    query(connect(), "drop table counter");
}

TEST_CASE_FIXTURE(with_database, "a failed connection with libpq is as native") {
    const auto failure = [&](const std::string& address) {
        return check_native([&] {
            const auto mine = connect(address);
            return std::string{PQstatus(mine.get()) == CONNECTION_BAD ? "bad: " : "ok: "} + PQerrorMessage(mine.get());
        });
    };
    query(connect(), "drop role if exists locked; create role locked login password 'right'");
    const auto locked = database().address() + " user=locked password=";
    CHECK(failure(locked + "right") == "ok: ");
    CHECK(failure(locked + "wrong").find("password authentication failed") != std::string::npos);
    CHECK(failure(locked).find("no password supplied") != std::string::npos);
    CHECK(failure(database().address() + " dbname=nosuch").find("does not exist") != std::string::npos);
    CHECK(failure(database().address() + " port=" + std::to_string(free_port())).find("Connection refused") !=
          std::string::npos);
    CHECK(failure("host=/nowhere user=tester").find("No such file") != std::string::npos);
    CHECK(failure("host=nowhere.invalid user=tester").find("could not translate host name") != std::string::npos);
}

TEST_CASE_FIXTURE(with_database, "a backend that is terminated midway is libpq's own error, as native") {
    const auto terminated = check_native_pair([](auto&& both) {
        const auto mine = connect();
        const int backend = PQbackendPID(mine.get());
        answer result;
        both([&] { result = query(mine, "select pg_sleep(30)"); },
             [&] {
                 wait_until_asleep(backend, database().address());
                 query(connect(), "select pg_terminate_backend(" + std::to_string(backend) + ")");
             });
        return result;
    });
    CHECK(terminated.status == PGRES_FATAL_ERROR);
    CHECK(terminated.error.find("server closed the connection") != std::string::npos);
    CHECK_FALSE(terminated.alive);
}

TEST_CASE("a backend that is killed midway is libpq's own error, as native") {
    // A server of its own, for its backends to be killed. SIGKILL to one makes PostgreSQL restart the others.
    std::optional<postgres_server> server;
    start(server);
    std::size_t restarts = 0;
    const auto has_restarted = [&] {
        const auto log = server->process.log();
        std::size_t times = 0;
        for (std::size_t at = 0; (at = log.find("ready to accept connections", at)) != std::string::npos; ++at)
            ++times;
        return times > restarts;
    };
    const auto killed = check_native_pair([&](auto&& both) {
        const auto mine = connect(server->address());
        const int backend = PQbackendPID(mine.get());
        answer result;
        both([&] { result = query(mine, "select pg_sleep(30)"); },
             [&] {
                 wait_until_asleep(backend, server->address());
                 ::kill(backend, SIGKILL);
             });
        for (++restarts; !has_restarted();)
            ::usleep(10'000);
        return result;
    });
    CHECK(killed.status == PGRES_FATAL_ERROR);
    CHECK_FALSE(killed.alive);

    // And the whole server, under ten.
    const auto under_ten = check_killed_midway(
        server->process, [&] { return connect(server->address()); },
        [](const connection& to) { return query(to, "select pg_sleep(30)"); });
    CHECK(under_ten.status == PGRES_FATAL_ERROR);
    CHECK_FALSE(under_ten.alive);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_database, "a deadline ends PQexec with an error of libpq's") {
    auto mine = connect();
    const auto result = with_deadline([&] { return query(mine, "select pg_sleep(10)"); });
    CHECK(result.status == PGRES_FATAL_ERROR);
    CHECK(result.error.find("Connection timed out") != std::string::npos);
    CHECK(in_a_fiber([&] {
              mine = connect();
              return query(mine, "select 1");
          }).values == "1;");
}

TEST_CASE_FIXTURE(with_database, "after a deadline PQreset makes a libpq connection good again") {
    // The answer that PQexec has not waited for may still come, so the connection is of no use as it is.
    const auto mine = connect();
    const auto result = with_deadline([&] { return query(mine, "select pg_sleep(10)"); });
    answer next;
    coir::run([&] {
        char error[256] = "";
        PGcancel* cancel = PQgetCancel(mine.get());
        CHECK(PQcancel(cancel, error, sizeof error) == 1);
        PQfreeCancel(cancel);
        PQreset(mine.get());
        next = query(mine, "select 1");
    });
    CHECK(result.status == PGRES_FATAL_ERROR);
    CHECK(next.values == "1;");
    CHECK(next.alive);
}

TEST_CASE_FIXTURE(with_database, "a deadline ends PQconnectdb with an error of libpq's") {
    const silent_port silent;
    const auto error = with_deadline([&] {
        const auto mine = connect("host=127.0.0.1 port=" + std::to_string(silent.port()) + postgres_server::common);
        CHECK(PQstatus(mine.get()) == CONNECTION_BAD);
        return std::string{PQerrorMessage(mine.get())};
    });
    CHECK(error.find("Connection timed out") != std::string::npos);
}

TEST_CASE_FIXTURE(with_database, "cancellation ends PQexec with an error of libpq's") {
    const auto mine = connect();
    const auto result = with_cancellation([&] { return query(mine, "select pg_sleep(10)"); });
    CHECK(result.status == PGRES_FATAL_ERROR);
    CHECK(result.error.find("Operation canceled") != std::string::npos);
}

} // namespace clients
