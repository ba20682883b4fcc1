// SPDX-License-Identifier: BSL-1.0
// Unmodified libmariadb in fibers, with MariaDB.
#include "server.hpp"
#include "together.hpp"

#include <coir/channel.hpp>
#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <ostream>
#include <vector>

namespace clients {
namespace {

// ---- the server -----------------------------------------------------------------------------------------------------

struct mariadb_server {
    mariadb_server()
    {
        const auto mariadbd = program("mariadbd", "mariadb-server-core") + " --no-defaults --datadir=\"$PWD/data\"" +
                              " --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0" +
                              " --innodb-log-file-size=4M --innodb-buffer-pool-size=16M --innodb-use-native-aio=0";
        std::ofstream{process.directory() / "before.sql"} << "create database mysql;\n"
                                                             "use mysql;\n"
                                                             "set @auth_root_socket = null;\n";
        std::ofstream{process.directory() / "after.sql"} << "flush privileges;\n"
                                                            "create user tester@'127.0.0.1';\n"
                                                            "create user locked@'127.0.0.1' identified by 'right';\n"
                                                            "create user tester@localhost;\n"
                                                            "grant all on *.* to tester@'127.0.0.1';\n"
                                                            "grant all on *.* to tester@localhost;\n"
                                                            "create database test;\n";
        process.start("mkdir data && cd /usr/share/mysql &&"
                      " cat \"$OLDPWD/before.sql\" mysql_system_tables.sql mysql_system_tables_data.sql"
                      " \"$OLDPWD/after.sql\" >\"$OLDPWD/all.sql\" && cd \"$OLDPWD\" && " +
                          mariadbd + " --bootstrap <all.sql && exec " + mariadbd +
                          " --socket=\"$PWD/socket\" --bind-address=127.0.0.1 --skip-name-resolve --skip-log-bin"
                          " --max-connections=150 --max-allowed-packet=16M --local-infile=1 --port=" +
                          std::to_string(port),
                      "nobody", SIGKILL); // its data are of no use to anybody
    }
    bool is_ready() const { return process.log().find("ready for connections") != std::string::npos; }
    std::string socket() const { return (process.directory() / "socket").string(); }

    server_process process{"mariadb"};
    int port = free_port();
};

mariadb_server& database()
{
    [[maybe_unused]] static const int once = mysql_library_init(0, nullptr, nullptr);
    return shared<mariadb_server>();
}

struct with_database {
    with_database() { database(); }
};

// ---- libmariadb as anybody uses it ----------------------------------------------------------------------------------

struct close_connection {
    void operator()(MYSQL* connection) const noexcept { mysql_close(connection); }
};
struct free_result {
    void operator()(MYSQL_RES* result) const noexcept { mysql_free_result(result); }
};
struct close_statement {
    void operator()(MYSQL_STMT* statement) const noexcept { mysql_stmt_close(statement); }
};
using connection = std::unique_ptr<MYSQL, close_connection>;
using rows = std::unique_ptr<MYSQL_RES, free_result>;
using statement = std::unique_ptr<MYSQL_STMT, close_statement>;

struct address {
    std::string host = "127.0.0.1";
    int port = database().port;
    std::string user = "tester";
    std::string password = "";
    std::string schema = "test";
    std::string socket = "";
};

connection connect(const address& to = {})
{
    connection mine{mysql_init(nullptr)};
    const my_bool off = 0;
    mysql_options(mine.get(), MYSQL_OPT_RECONNECT, &off);
    mysql_real_connect(mine.get(), to.socket.empty() ? to.host.c_str() : nullptr, to.user.c_str(), to.password.c_str(),
                       to.schema.c_str(), static_cast<unsigned>(to.port),
                       to.socket.empty() ? nullptr : to.socket.c_str(), 0);
    return mine;
}

/// All that can be seen of a result.
struct answer {
    unsigned code = 0; ///< mysql_errno
    std::string error;
    std::string state; ///< SQLSTATE
    std::string values;
    unsigned long long affected = 0;
    bool nonblocking = false; ///< whether the connection's socket has O_NONBLOCK

    friend bool operator==(const answer&, const answer&) = default;
    friend std::ostream& operator<<(std::ostream& out, const answer& it)
    {
        return out << "{" << it.code << " " << it.state << " \"" << it.error << "\", " << it.values.size()
                   << " bytes: " << it.values.substr(0, 40) << ", affected " << it.affected << ", O_NONBLOCK "
                   << it.nonblocking << "}";
    }
};

answer state_of(const connection& it)
{
    answer result;
    result.code = mysql_errno(it.get());
    result.error = mysql_error(it.get());
    result.state = mysql_sqlstate(it.get());
    if (const int socket = mysql_get_socket(it.get()); socket >= 0)
        result.nonblocking = is_nonblocking(socket);
    return result;
}

answer query(const connection& to, const std::string& sql)
{
    std::string values;
    if (mysql_real_query(to.get(), sql.data(), sql.size()) == 0)
        if (const rows all{mysql_store_result(to.get())})
            while (MYSQL_ROW row = mysql_fetch_row(all.get())) {
                const auto* sizes = mysql_fetch_lengths(all.get());
                for (unsigned column = 0; column < mysql_num_fields(all.get()); ++column)
                    values.append(row[column] ? std::string{row[column], sizes[column]} : "null").append(";");
            }
    auto result = state_of(to);
    result.values = std::move(values);
    result.affected = mysql_affected_rows(to.get());
    return result;
}

/// Until that many connections are in such a state.
void wait_until(const std::string& state, int number)
{
    const auto mine = connect();
    const auto sql = "select count(*) from information_schema.processlist where " + state;
    while (query(mine, sql).values != std::to_string(number) + ";")
        ::usleep(5'000);
}

} // namespace

// ---- many at once ---------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_database, "thirty fibers wait for MariaDB with libmariadb at once, on one thread") {
    constexpr std::size_t count = 30;
    const auto request = [] { return query(connect(), "select get_lock('gate', 30), release_lock('gate')"); };
    const auto expected = natively(request);
    REQUIRE(expected.values == "1;1;");
    const auto gate = connect();
    REQUIRE(query(gate, "select get_lock('gate', 0)").values == "1;");
    std::vector<answer> answers(count);
    const auto most = together(
        count, [&](std::size_t i) { answers[i] = request(); },
        [&] {
            wait_until("state = 'User lock'", count);
            query(gate, "select release_lock('gate')");
        });
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

TEST_CASE_FIXTURE(with_database, "a thousand fibers share twenty libmariadb connections") {
    coir::channel<connection> pool{20};
    for (std::size_t i = 0; i < pool.capacity(); ++i)
        REQUIRE(pool.try_send(connect()));
    std::vector<std::string> numbers(1000);
    const auto most = together(numbers.size(), [&](std::size_t i) {
        auto mine = pool.receive();
        REQUIRE(mine);
        numbers[i] = query(*mine, "select " + std::to_string(i) + ", sleep(0.005)").values;
        pool.send(std::move(*mine));
    });
    for (std::size_t i = 0; i < numbers.size(); ++i)
        CHECK(numbers[i] == std::to_string(i) + ";0;");
    CHECK(most.waiting <= pool.capacity());
    CHECK(most.threads == 1);
}

// ---- as native ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_database, "libmariadb's queries are as native") {
    for (const auto& to : {address{}, address{.socket = database().socket()}}) {
        const auto one = [&](const char* sql) { return check_native([&] { return query(connect(to), sql); }); };
        CHECK(one("select 1, 'two', null").values == "1;two;null;");
        CHECK(one("").code == ER_EMPTY_QUERY);
        CHECK(one("select from where").state == "42000");
        CHECK(one("select * from nothing").code == ER_NO_SUCH_TABLE);
        CHECK(one("create temporary table numbers (n int)").code == 0);
        CHECK(one("do sleep(0.05)").code == 0);
        CHECK(one("set statement max_statement_time = 0.05 for select sleep(10)").code == ER_STATEMENT_TIMEOUT);
    }
}

TEST_CASE_FIXTURE(with_database, "large values through libmariadb, in both directions, are as native") {
    for (const auto& to : {address{}, address{.socket = database().socket()}}) {
        const auto many = check_native(
            [&] { return query(connect(to), "select repeat(char(65 + seq % 26), 3000) from seq_1_to_1000"); });
        CHECK(many.values.size() == 1000 * 3001);
        const auto one = check_native([&] {
            const auto text = std::string(5'000'000, 'x');
            return query(connect(to), "select length('" + text + "'), '" + text + "'");
        });
        CHECK(one.values.size() == 5'000'000 + 9);
    }
}

TEST_CASE_FIXTURE(with_database, "rows that libmariadb fetches one by one, and prepared statements, are as native") {
    const auto work = [] {
        const auto mine = connect();
        std::string result;
        mysql_query(mine.get(), "select seq from seq_1_to_50000");
        {
            const rows all{mysql_use_result(mine.get())};
            while (MYSQL_ROW row = mysql_fetch_row(all.get()))
                result += row[0];
        }
        const statement prepared{mysql_stmt_init(mine.get())};
        const std::string sql = "select ? * 2";
        result += mysql_stmt_prepare(prepared.get(), sql.data(), sql.size()) ? mysql_stmt_error(prepared.get()) : "";
        for (int number = 0; number < 100; ++number) {
            int doubled = 0;
            MYSQL_BIND in{};
            in.buffer_type = MYSQL_TYPE_LONG;
            in.buffer = &number;
            MYSQL_BIND out = in;
            out.buffer = &doubled;
            mysql_stmt_bind_param(prepared.get(), &in);
            mysql_stmt_bind_result(prepared.get(), &out);
            if (mysql_stmt_execute(prepared.get()) || mysql_stmt_fetch(prepared.get()))
                result += mysql_stmt_error(prepared.get());
            mysql_stmt_free_result(prepared.get());
            result += "," + std::to_string(doubled);
        }
        return result;
    };
    const auto expected = natively(work);
    CHECK(expected.ends_with("50000,0,2,4" + expected.substr(expected.find(",6"))));
    std::vector<std::string> results(5);
    together(results.size(), [&](std::size_t i) { results[i] = work(); });
    for (const auto& each : results)
        CHECK((each == expected));
}

TEST_CASE_FIXTURE(with_database, "LOAD DATA LOCAL through libmariadb is as native") {
    const auto file = database().process.directory() / "lines";
    {
        std::ofstream lines{file};
        for (int i = 0; i < 20'000; ++i)
            lines << i << '\t' << std::string(static_cast<std::size_t>(i % 100), 'x') << '\n';
    }
    const auto result = check_native([&] {
        const auto mine = connect();
        const unsigned on = 1;
        mysql_options(mine.get(), MYSQL_OPT_LOCAL_INFILE, &on);
        query(mine, "create temporary table numbered (number int, line text)");
        const auto loaded = query(mine, "load data local infile '" + file.string() + "' into table numbered");
        return loaded.error + std::to_string(loaded.affected) + " " +
               query(mine, "select count(*), sum(number), sum(length(line)) from numbered").values;
    });
    CHECK(result == "20000 20000;199990000;990000;");
}

TEST_CASE_FIXTURE(with_database, "fibers' transactions through libmariadb wait for each other in the server") {
    {
        const auto mine = connect();
        query(mine, "create table counter (value int)");
        query(mine, "insert into counter values (0)");
    }
    std::vector<std::string> errors(10);
    together(errors.size(), [&](std::size_t i) {
        const auto mine = connect();
        for (const char* sql : {"begin", "select value from counter for update", "select sleep(0.01)",
                                "update counter set value = value + 1", "commit"})
            errors[i] += query(mine, sql).error;
    });
    for (const auto& each : errors)
        CHECK(each == "");
    CHECK(query(connect(), "select value from counter").values == "10;");
    query(connect(), "drop table counter");
}

// ---- failures -------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_database, "a failed connection with libmariadb is as native") {
    const auto failure = [](const address& to) {
        return check_native([&] {
            auto result = state_of(connect(to));
            result.error.clear(); // says which random port we came from
            return result;
        });
    };
    CHECK(failure({.user = "locked", .password = "right", .schema = "information_schema"}).code == 0);
    CHECK(failure({.user = "locked", .password = "wrong"}).code == ER_ACCESS_DENIED_ERROR);
    CHECK(failure({.user = "locked"}).code == ER_ACCESS_DENIED_ERROR);
    CHECK(failure({.schema = "nosuch"}).code == ER_BAD_DB_ERROR);
    CHECK(failure({.port = free_port()}).code == CR_CONNECTION_ERROR);
    CHECK(failure({.socket = "/nowhere"}).code == CR_CONNECTION_ERROR);
    CHECK(failure({.host = "nowhere.invalid"}).code != 0);
}

TEST_CASE_FIXTURE(with_database, "libmariadb's own time-out is as native") {
    const auto limited = check_native([&] {
        const connection mine{mysql_init(nullptr)};
        const unsigned seconds = 1;
        mysql_options(mine.get(), MYSQL_OPT_READ_TIMEOUT, &seconds);
        mysql_real_connect(mine.get(), "127.0.0.1", "tester", "", "test", static_cast<unsigned>(database().port),
                           nullptr, 0);
        return query(mine, "select sleep(10)");
    });
    CHECK(limited.code == CR_SERVER_LOST);
}

TEST_CASE_FIXTURE(with_database, "a connection that MariaDB kills midway is libmariadb's own error, as native") {
    const auto killed = check_native_pair([](auto&& both) {
        const auto mine = connect();
        const auto id = mysql_thread_id(mine.get());
        answer result;
        both([&] { result = query(mine, "select sleep(30)"); },
             [&] {
                 wait_until("state = 'User sleep' and id = " + std::to_string(id), 1);
                 query(connect(), "kill " + std::to_string(id));
             });
        return result;
    });
    CHECK(killed.code == CR_SERVER_LOST);
}

TEST_CASE("a MariaDB server that is killed midway is libmariadb's own error, as native") {
    std::optional<mariadb_server> server;
    start(server);
    const auto result = check_killed_midway(
        server->process, [&] { return connect({.port = server->port}); },
        [](const connection& to) { return query(to, "select 1"); });
    CHECK(result.code == CR_SERVER_LOST);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(with_database, "a deadline ends mysql_query with an error of libmariadb's") {
    auto mine = connect();
    const auto result = with_deadline([&] { return query(mine, "select sleep(10)"); });
    CHECK(result.code == CR_SERVER_LOST);
    CHECK(in_a_fiber([&] {
              mine = connect();
              return query(mine, "select 1");
          }).values == "1;");
}

TEST_CASE_FIXTURE(with_database, "a deadline ends mysql_real_connect with an error of libmariadb's") {
    const silent_port silent;
    const auto unanswered = with_deadline([&] { return state_of(connect({.port = silent.port()})); });
    CHECK(unanswered.code == CR_SERVER_LOST);
    CHECK(unanswered.error.ends_with("system error: " + std::to_string(ETIMEDOUT)));
    const full_port full;
    const auto unconnected = with_deadline([&] { return state_of(connect({.port = full.port()})); });
    CHECK(unconnected.code == CR_CONNECTION_ERROR);
}

TEST_CASE_FIXTURE(with_database, "cancellation ends mysql_query with an error of libmariadb's") {
    const auto mine = connect();
    const auto result = with_cancellation([&] { return query(mine, "select sleep(10)"); });
    CHECK(result.code == CR_SERVER_LOST);
}

} // namespace clients
