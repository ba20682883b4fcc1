// SPDX-License-Identifier: BSL-1.0
// Names. No network is needed: numbers, the hosts file, names that are never asked for (RFC 6761), and answers that
// the test holds back. A name server is asked in dns_test.
#include <coir/net/resolver.hpp>

#include <coir/deadline.hpp>
#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <doctest/doctest.h>
#include <boost/asio/error.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using boost::asio::ip::make_address;
using boost::asio::ip::resolver_base;
using boost::asio::ip::tcp;
using boost::system::error_code;
using coir::net::host_addresses;
using coir::net::name_query;
using coir::net::resolver;
namespace error = boost::asio::error;

namespace {

/// Answers with an address of its own for each question, once it may.
class oracle {
public:
    coir::net::resolver_options options(coir::net::resolver_options others = {}) const
    {
        // Look-ups that everybody has left may still be at it when we are gone.
        others.ask = [in = state_](const name_query& query, host_addresses& found) { return in->ask(query, found); };
        return others;
    }
    void answer() { state_->may_answer.set(); }
    int asked() const { return state_->asked; }
    int most() const { return state_->most; }

private:
    struct state {
        coir::event may_answer;
        std::atomic<int> asked{0};
        std::atomic<int> running{0};
        std::atomic<int> most{0};

        error_code ask(const name_query& query, host_addresses& found)
        {
            const int now = ++running;
            for (int before = most.load(); before < now && !most.compare_exchange_weak(before, now);) {}
            const auto number = static_cast<unsigned short>(++asked);
            may_answer.wait(); // blocks this helper thread
            --running;
            if (query.host == "absent")
                return error::host_not_found;
            if (query.host == "out-of-reach")
                return error::host_not_found_try_again;
            if (query.host == "broken")
                throw std::runtime_error{"broken"};
            found.endpoints.push_back({make_address("192.0.2.1"), number});
            return {};
        }
    };
    std::shared_ptr<state> state_ = std::make_shared<state>();
};

/// Real time passes until then: other threads are waited for.
template <class Condition> void until(Condition&& condition)
{
    while (!condition())
        coir::this_fiber::sleep_for(1ms);
}

std::vector<std::string> texts(const host_addresses& found)
{
    std::vector<std::string> all;
    for (const auto& each : found.endpoints)
        all.push_back(each.address().to_string() + " " + std::to_string(each.port()));
    return all;
}

} // namespace

// ---- with libc ------------------------------------------------------------------------------------------------------

TEST_CASE("resolver answers numbers in place") {
    coir::run([] {
        resolver names;
        CHECK(texts(names.resolve("127.0.0.1", "80")) == std::vector<std::string>{"127.0.0.1 80"});
        CHECK(texts(names.resolve("::1", "443")) == std::vector<std::string>{"::1 443"});
        CHECK(texts(names.resolve("127.1", "")) == std::vector<std::string>{"127.0.0.1 0"}); // as inet_aton(3)
        CHECK(texts(names.resolve({.host = "", .service = "9", .flags = resolver_base::passive, .family = AF_INET})) ==
              std::vector<std::string>{"0.0.0.0 9"});
        error_code ec;
        names.resolve({.host = "localhost", .service = "1", .flags = resolver_base::numeric_host}, ec);
        CHECK(ec == error::host_not_found);
        names.resolve({.host = "127.0.0.1", .service = "1", .family = AF_INET6}, ec);
        CHECK(ec == error::host_not_found);
        names.resolve("127.0.0.1", "65536", ec);
        CHECK(ec == error::service_not_found);
        names.resolve(std::string{"local\0host", 10}, "80", ec);
        CHECK(ec == error::invalid_argument);
        CHECK(names.count().looked_up == 0);
    });
}

TEST_CASE("resolver finds what is in the hosts file") {
    coir::run([] {
        resolver names;
        CHECK(texts(names.resolve({.host = "localhost", .service = "80", .family = AF_INET})) ==
              std::vector<std::string>{"127.0.0.1 80"});
        const auto found = names.resolve(
            {.host = "localhost", .service = "80", .flags = resolver_base::canonical_name, .family = AF_INET});
        CHECK(found.canonical_name == "localhost");
        CHECK(names.count().looked_up == 2);
        CHECK(names.count().running == 0);
    });
}

TEST_CASE("resolver knows services by their names") {
    coir::run([] {
        resolver names;
        CHECK(texts(names.resolve("127.0.0.1", "https")) == std::vector<std::string>{"127.0.0.1 443"});
        error_code ec;
        names.resolve("127.0.0.1", "no-such-service", ec);
        CHECK(ec == error::service_not_found);
    });
}

TEST_CASE("a name that does not resolve is an error that names it") {
    coir::run([] {
        resolver names;
        error_code ec;
        CHECK(names.resolve("no-such-host.invalid", "80", ec).endpoints.empty());
        // Without any name server libc says that it may try again.
        CHECK((ec == error::host_not_found || ec == error::host_not_found_try_again));
        try {
            names.resolve("no-such-host.invalid", "80");
            FAIL("it was found");
        } catch (const std::system_error& failure) {
            CHECK(failure.code() == std::error_code{ec});
            CHECK(std::string{failure.what()}.starts_with("coir::net::resolver::resolve: no-such-host.invalid:80: "));
        }
    });
}

TEST_CASE("resolver says what an address is called") {
    coir::run([] {
        resolver names;
        const auto found = names.names_of({make_address("127.0.0.1"), 443});
        CHECK(found.host == "localhost");
        CHECK(found.service == "https");
        CHECK(names.names_of({make_address("127.0.0.1"), 64'999}).service == "64999");
    });
}

TEST_CASE("resolver works on a plain thread") {
    CHECK(texts(resolver::shared().resolve({.host = "localhost", .service = "80", .family = AF_INET})) ==
          std::vector<std::string>{"127.0.0.1 80"});
}

TEST_CASE("what resolver finds is what Asio's resolver finds") {
    coir::run([] {
        const name_query query{.host = "localhost", .service = "80"};
        const auto ours = resolver::shared().resolve(query).as_results(query);
        boost::asio::io_context context;
        tcp::resolver asios{context};
        const auto theirs = asios.resolve("localhost", "80");
        const auto equal = [](const auto& one, const auto& other) {
            return one.endpoint() == other.endpoint() && one.host_name() == other.host_name() &&
                   one.service_name() == other.service_name();
        };
        CHECK(std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end(), equal));
    });
}

// ---- at the same time -----------------------------------------------------------------------------------------------

TEST_CASE("the same question is asked once while it is being looked up") {
    coir::run([] {
        oracle source;
        resolver names{source.options()};
        std::vector<std::vector<std::string>> answers(10);
        coir::fiber_group asking;
        for (auto& each : answers)
            asking.spawn([&] { each = texts(names.resolve("Example.org", "80")); });
        asking.spawn([&] { CHECK(texts(names.resolve("EXAMPLE.ORG", "80")) == answers.front()); }); // RFC 4343
        until([&] { return names.count().shared == 10; });
        source.answer();
        asking.join();
        CHECK(source.asked() == 1);
        for (const auto& each : answers)
            CHECK(each == std::vector<std::string>{"192.0.2.1 1"});
        names.resolve("Example.org", "80");
        CHECK(source.asked() == 2);
    });
}

TEST_CASE("the same question is asked once by fibers of several hubs and by threads") {
    oracle source;
    resolver names{source.options()};
    constexpr std::size_t fibers = 40;
    std::atomic<std::size_t> right{0};
    const auto ask = [&] {
        right += texts(names.resolve("example.org", "80")) == std::vector<std::string>{"192.0.2.1 1"};
    };
    coir::runtime hubs{{.hubs = 3}};
    for (std::size_t i = 0; i < fibers; ++i)
        hubs.spawn(ask);
    hubs.spawn([&] {
        until([&] { return names.count().shared == fibers; });
        source.answer();
    });
    std::thread outside{ask};
    hubs.run();
    outside.join();
    CHECK(right == fibers + 1);
    CHECK(source.asked() == 1);
}

TEST_CASE("many questions are asked a few at a time") {
    coir::run([] {
        oracle source;
        resolver names{source.options({.lookups_max = 3})};
        coir::fiber_group asking;
        for (int i = 0; i < 20; ++i)
            asking.spawn([&, i] { names.resolve("host" + std::to_string(i), "80"); });
        until([&] { return names.count().waiting == 17; });
        until([&] { return source.asked() == 3; });
        source.answer();
        asking.join();
        CHECK(source.most() <= 3);
        CHECK(source.asked() == 20);
    });
}

TEST_CASE("who is cancelled leaves at once, and the others get the answer") {
    coir::run([] {
        oracle source;
        resolver names{source.options()};
        std::vector<std::string> answer;
        coir::fiber stays{[&] { answer = texts(names.resolve("example.org", "80")); }};
        until([&] { return source.asked() == 1; });
        coir::fiber leaves{[&] { names.resolve("example.org", "80"); }};
        until([&] { return names.count().shared == 1; });
        leaves.cancel();
        leaves.join();
        CHECK(answer.empty());
        {
            const coir::timeout limit{0ms};
            CHECK_THROWS_AS(names.resolve("example.org", "80"), coir::timed_out);
        }
        source.answer();
        stays.join();
        CHECK(answer == std::vector<std::string>{"192.0.2.1 1"});
        CHECK(source.asked() == 1);
    });
}

TEST_CASE("a timeout ends a look-up that takes too long, and the resolver may go") {
    oracle source;
    coir::run([&] {
        resolver names{source.options()};
        coir::timeout limit{20ms};
        error_code ec;
        CHECK_THROWS_AS(names.resolve("example.org", "80", ec), coir::timed_out);
        CHECK(limit.expired());
    });
    source.answer();
}

TEST_CASE("a question that everybody has left is never asked") {
    coir::run([] {
        oracle source;
        resolver names{source.options({.lookups_max = 1})};
        coir::fiber first{[&] { names.resolve("first", "80"); }};
        until([&] { return source.asked() == 1; });
        coir::fiber second{[&] { names.resolve("second", "80"); }};
        until([&] { return names.count().waiting == 1; });
        second.cancel();
        second.join();
        source.answer();
        first.join();
        until([&] { return names.count().running == 0; });
        CHECK(source.asked() == 1);
        CHECK(names.count().waiting == 0);
    });
}

TEST_CASE("an exception while asking is everybody's who asked") {
    coir::run([] {
        oracle source;
        resolver names{source.options()};
        source.answer();
        CHECK_THROWS_WITH_AS(names.resolve("broken", "80"), "broken", std::runtime_error);
        CHECK(names.count().running == 0);
    });
}

// ---- kept answers ---------------------------------------------------------------------------------------------------

TEST_CASE("answers are kept for as long as they were said to be") {
    coir::testing::run([] {
        oracle source;
        resolver names{source.options({.ttl = 1h})};
        source.answer();
        names.resolve("example.org", "80");
        coir::this_fiber::sleep_for(59min);
        CHECK(texts(names.resolve("example.org", "80")) == std::vector<std::string>{"192.0.2.1 1"});
        CHECK(names.count().remembered == 1);
        coir::this_fiber::sleep_for(1min);
        CHECK(texts(names.resolve("example.org", "80")) == std::vector<std::string>{"192.0.2.1 2"});
        names.forget();
        CHECK(names.count().kept == 0);
        CHECK(texts(names.resolve("example.org", "80")) == std::vector<std::string>{"192.0.2.1 3"});
    });
}

TEST_CASE("it is remembered that a name does not exist, but not that nobody answered") {
    coir::testing::run([] {
        oracle source;
        resolver names{source.options({.ttl = 1h, .negative_ttl = 1min})};
        source.answer();
        error_code ec;
        for (int i = 0; i < 3; ++i) {
            names.resolve("absent", "80", ec);
            CHECK(ec == error::host_not_found);
        }
        CHECK(source.asked() == 1);
        coir::this_fiber::sleep_for(1min);
        names.resolve("absent", "80", ec);
        CHECK(source.asked() == 2);
        for (int i = 0; i < 3; ++i) {
            names.resolve("out-of-reach", "80", ec);
            CHECK(ec == error::host_not_found_try_again);
        }
        CHECK(source.asked() == 5);
    });
}

TEST_CASE("the oldest answers make room for new ones") {
    coir::testing::run([] {
        oracle source;
        resolver names{source.options({.ttl = 1h, .entries_max = 2})};
        source.answer();
        for (const char* host : {"a", "b", "c"})
            names.resolve(host, "80");
        CHECK(names.count().kept == 2);
        names.resolve("c", "80");
        names.resolve("b", "80");
        CHECK(source.asked() == 3);
        names.resolve("a", "80");
        CHECK(source.asked() == 4);
    });
}
