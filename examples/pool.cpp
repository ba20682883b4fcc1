// SPDX-License-Identifier: BSL-1.0
//
// A thousand fibers share ninety connections to PostgreSQL, on one thread, with libpq as it is: every call blocks, and
// suspends only the fiber that makes it.
//
//     pool "host=localhost dbname=postgres"
#include <coir/channel.hpp>
#include <coir/fiber_group.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <libpq-fe.h>

#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

struct finish {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};
struct clear {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using connection = std::unique_ptr<PGconn, finish>;
using rows = std::unique_ptr<PGresult, clear>;

/// So many connections at most, opened when they are wanted and used in turn.
class connection_pool {
public:
    connection_pool(std::string address, std::size_t size) : address_{std::move(address)}, idle_{size}
    {
        while (size-- > 0)
            idle_.send(nullptr);
    }

    /// A connection for as long as the lease lives.
    class lease {
    public:
        /// Suspends while all are in use. Throws when none can be opened.
        explicit lease(connection_pool& pool) : pool_{pool}, connection_{std::move(*pool.idle_.receive())}
        {
            if (connection_ && PQstatus(connection_.get()) == CONNECTION_OK)
                return;
            connection_.reset(PQconnectdb(pool_.address_.c_str()));
            if (PQstatus(connection_.get()) != CONNECTION_OK) {
                const std::string why = PQerrorMessage(connection_.get());
                give_back(nullptr);
                throw std::runtime_error{why};
            }
        }
        lease(const lease&) = delete;
        lease& operator=(const lease&) = delete;
        ~lease()
        {
            // Who was cancelled in the middle of a query leaves a connection that nobody else can use.
            const bool usable = PQtransactionStatus(connection_.get()) == PQTRANS_IDLE;
            give_back(usable ? std::move(connection_) : nullptr);
        }
        PGconn* get() const noexcept { return connection_.get(); }

    private:
        void give_back(connection what) noexcept { pool_.idle_.try_send(std::move(what)); } // there is room: we took it

        connection_pool& pool_;
        connection connection_;
    };

private:
    std::string address_;
    coir::channel<connection> idle_; ///< null: one that is not open
};

struct answer {
    int square;
    std::string backend;
};

answer ask(PGconn* connection, int number)
{
    const std::string query = fmt::format("select {0} * {0}, pg_backend_pid(), pg_sleep(0.01)", number);
    const rows result{PQexec(connection, query.c_str())};
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
        throw std::runtime_error{PQerrorMessage(connection)};
    return {std::stoi(PQgetvalue(result.get(), 0, 0)), PQgetvalue(result.get(), 0, 1)};
}

std::size_t threads_of_this_process()
{
    const std::filesystem::directory_iterator tasks{"/proc/self/task"};
    return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

void ask_all(const std::string& address, std::size_t connections, int fibers)
{
    connection_pool pool{address, connections};
    std::set<std::string> backends;
    std::size_t right = 0;
    std::size_t threads = 0;
    const auto start = std::chrono::steady_clock::now();

    coir::fiber_group group;
    for (int number = 0; number < fibers; ++number)
        group.spawn([&, number] {
            const connection_pool::lease lease{pool};
            const auto [square, backend] = ask(lease.get(), number);
            right += square == number * number;
            backends.insert(backend);
            threads = std::max(threads, threads_of_this_process());
        });
    group.join();

    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    fmt::print("{} fibers, {} connections, {} OS thread{}: {} right answers\n", fibers, backends.size(), threads,
               threads == 1 ? "" : "s", right);
    fmt::print(stderr, "{:.2f} s; one after the other, the server alone would have slept for {:.2f} s\n", took.count(),
               0.01 * fibers);
}

} // namespace

int main(int argc, char** argv)
{
    CLI::App arguments{"A thousand fibers share ninety connections to PostgreSQL, on one thread."};
    std::string address;
    std::size_t connections = 90; // PostgreSQL accepts a hundred unless told otherwise, and keeps some for its owner
    int fibers = 1000;
    arguments.add_option("address", address, "what libpq is to connect to, as for psql")->required();
    arguments.add_option("--connections", connections, "how many at most")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    arguments.add_option("--fibers", fibers, "how many queries at once")
        ->capture_default_str()
        ->check(CLI::Range(1, 40'000));
    CLI11_PARSE(arguments, argc, argv);

    try {
        coir::run([&] { ask_all(address, connections, fibers); });
    } catch (const std::exception& error) {
        fmt::print(stderr, "pool: {}\n", error.what());
        return 1;
    }
}
