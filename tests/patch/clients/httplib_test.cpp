// SPDX-License-Identifier: BSL-1.0
// Unmodified cpp-httplib in fibers: its client with nginx, and its server with its client, all on one thread.
#include "server.hpp"
#include "together.hpp"

#include <coir/event.hpp>
#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <httplib.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <ostream>
#include <vector>

namespace clients {
namespace {

web_server& web()
{
    [[maybe_unused]] static const bool once = [] {
        allow_many_descriptors();
        ::signal(SIGPIPE, SIG_IGN);
        return true;
    }();
    return shared<web_server>();
}

struct with_web {
    with_web() { web(); }
};

// ---- cpp-httplib's client as anybody uses it ------------------------------------------------------------------------

struct answer {
    httplib::Error code = httplib::Error::Success;
    int status = 0;
    std::string body;

    friend bool operator==(const answer&, const answer&) = default;
    friend std::ostream& operator<<(std::ostream& out, const answer& it)
    {
        return out << "{" << httplib::to_string(it.code) << ", status " << it.status << ", " << it.body.size()
                   << " bytes: " << it.body.substr(0, 40) << "}";
    }
};

answer answer_of(const httplib::Result& result)
{
    if (!result)
        return {result.error(), 0, {}};
    return {result.error(), result->status, result->body};
}

using client = std::unique_ptr<httplib::Client>;

client make_client(const std::string& url)
{
    auto mine = std::make_unique<httplib::Client>(url);
    mine->set_ca_cert_path(web().peer.certificate().c_str());
    mine->set_read_timeout(30s);
    return mine;
}

client make_client(int port)
{
    return make_client("http://127.0.0.1:" + std::to_string(port));
}

answer get(const std::string& url, const std::string& path)
{
    return answer_of(make_client(url)->Get(path));
}

void check_many_at_once(const std::string& url, std::size_t count)
{
    const auto expected = natively([&] { return get(url, "/peer/slow?of=1"); });
    REQUIRE(expected.body == "slow\n");
    std::vector<answer> answers(count + 1);
    const auto path = "/peer/slow?of=" + std::to_string(count + 1);
    const auto most = all_but_one_together(count, [&](std::size_t i) { answers[i] = get(url, path); });
    for (const auto& each : answers)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

} // namespace

TEST_CASE_FIXTURE(with_web, "thirty fibers make requests with cpp-httplib at once, on one thread") {
    check_many_at_once(web().http(""), 30);
    check_many_at_once(web().https(""), 30);
}

TEST_CASE_FIXTURE(with_web, "a thousand fibers make requests with cpp-httplib at once, on one thread") {
    check_many_at_once(web().http(""), 1000);
}

TEST_CASE_FIXTURE(with_web, "requests with cpp-httplib are as native") {
    std::string data;
    while (data.size() < 3'000'000)
        data += std::to_string(data.size());
    for (const auto& url : {web().http(""), web().https("")}) {
        CAPTURE(url);
        CHECK(check_native([&] { return get(url, "/small"); }).body == "small\n");
        CHECK(check_native([&] { return get(url, "/big"); }).body.size() == 10'000'000);
        CHECK(check_native([&] { return get(url, "/none"); }).status == 404);
        CHECK(check_native([&] { return get(url, "/redirect"); }).status == 302);
        const auto sum =
            check_native([&] { return answer_of(make_client(url)->Post("/peer/sum", data, "text/plain")); });
        CHECK(sum.body.starts_with(std::to_string(data.size()) + " "));
        const auto kept = check_native([&] {
            const auto mine = make_client(url);
            mine->set_keep_alive(true);
            mine->set_follow_location(true);
            answer all;
            for (int i = 0; i < 20; ++i)
                all.body += answer_of(mine->Get("/redirect")).body;
            return all;
        });
        CHECK(kept.body.size() == 20 * 6);
    }
}

TEST_CASE_FIXTURE(with_web, "cpp-httplib's errors are as native") {
    const auto refused = check_native([port = free_port()] { return answer_of(make_client(port)->Get("/")); });
    CHECK(refused.code == httplib::Error::Connection);
    const auto unknown = check_native([] { return get("http://nowhere.invalid", "/"); });
    CHECK(unknown.code == httplib::Error::Connection);
    const auto untrusted = check_native([] {
        const auto mine = make_client(web().https(""));
        mine->set_ca_cert_path(web().peer.wrong_certificate().c_str());
        return answer_of(mine->Get("/small"));
    });
    CHECK(untrusted.code == httplib::Error::SSLServerVerification);
    const auto cut = check_native([] { return answer_of(make_client(web().peer.port)->Get("/cut")); });
    CHECK(cut.code == httplib::Error::Read);
    const auto late = check_native([] {
        const auto mine = make_client(web().http(""));
        mine->set_read_timeout(100ms);
        return answer_of(mine->Get("/peer/never"));
    });
    CHECK(late.code == httplib::Error::Read);
    const full_port full;
    const auto unconnected = check_native([&] {
        const auto mine = make_client(full.port());
        mine->set_connection_timeout(100ms);
        return answer_of(mine->Get("/"));
    });
    CHECK(unconnected.code == httplib::Error::ConnectionTimeout);
}

TEST_CASE("a web server that is killed midway is cpp-httplib's own error, as native") {
    std::optional<web_server> server;
    start(server);
    const auto result = check_killed_midway(
        server->process,
        [&] {
            auto mine = make_client(server->http(""));
            mine->set_keep_alive(true);
            mine->Get("/small");
            return mine;
        },
        [](const client& mine) { return answer_of(mine->Get("/small")); });
    CHECK(result.code == httplib::Error::Read);
}

TEST_CASE_FIXTURE(with_web, "a deadline ends a request with an error of cpp-httplib's") {
    for (const auto& url : {web().http(""), web().https("")}) {
        const auto mine = make_client(url);
        CHECK(with_deadline([&] { return answer_of(mine->Get("/peer/never")); }).code == httplib::Error::Read);
        CHECK(in_a_fiber([&] { return answer_of(mine->Get("/small")); }).body == "small\n");
    }
    const full_port full;
    const auto unconnected = with_deadline([&] { return answer_of(make_client(full.port())->Get("/")); });
    CHECK(unconnected.code == httplib::Error::Connection);
}

TEST_CASE_FIXTURE(with_web, "cancellation ends a request with an error of cpp-httplib's") {
    const auto result = with_cancellation([] { return get(web().http(""), "/peer/never"); });
    CHECK(result.code == httplib::Error::Read);
}

// ---- cpp-httplib's server -------------------------------------------------------------------------------------------

namespace {

/// A fiber for each connection: cpp-httplib lets the program say where its work is done.
class fiber_queue : public httplib::TaskQueue {
public:
    void enqueue(std::function<void()> work) override { connections_.spawn({.name = "connection"}, std::move(work)); }
    void shutdown() override { connections_.join(); }

private:
    coir::fiber_group connections_;
};

void add_handlers(httplib::Server& server)
{
    server.Get("/hello", [](const httplib::Request& request, httplib::Response& response) {
        response.set_content("hello " + request.get_param_value("name"), "text/plain");
    });
    server.Post("/echo", [](const httplib::Request& request, httplib::Response& response) {
        response.set_content(request.body, "text/plain");
    });
    server.Get("/chunks", [](const httplib::Request&, httplib::Response& response) {
        response.set_chunked_content_provider("text/plain", [](std::size_t, httplib::DataSink& sink) {
            for (int i = 0; i < 1000; ++i) {
                const auto chunk = std::to_string(i) + ";";
                sink.write(chunk.data(), chunk.size());
            }
            sink.done();
            return true;
        });
    });
    server.Get("/throws", [](const httplib::Request&, httplib::Response&) { throw std::runtime_error{"no"}; });
}

/// What a client sees of such a server.
std::vector<answer> ask_everything(int port)
{
    const auto mine = make_client(port);
    std::vector<answer> all;
    all.push_back(answer_of(mine->Get("/hello?name=you")));
    all.push_back(answer_of(mine->Post("/echo", std::string(2'000'000, 'x'), "text/plain")));
    all.push_back(answer_of(mine->Get("/chunks")));
    all.push_back(answer_of(mine->Get("/throws")));
    all.push_back(answer_of(mine->Get("/none")));
    return all;
}

/// Serves with cpp-httplib in a fiber while `work(port)` runs in another.
template <class Work> void serving(httplib::Server& server, Work work)
{
    coir::run([&] {
        const int port = server.bind_to_any_port("127.0.0.1");
        REQUIRE(port > 0);
        coir::fiber serves{{.name = "server"}, [&] { server.listen_after_bind(); }};
        work(port);
        server.stop();
        serves.join();
    });
}

} // namespace

TEST_CASE("cpp-httplib's server and its clients are as native, in fibers and with its own threads") {
    httplib::Server native;
    add_handlers(native);
    const int port = native.bind_to_any_port("127.0.0.1");
    std::thread serves{[&] { native.listen_after_bind(); }};
    const auto expected = natively([&] { return ask_everything(port); });
    native.stop();
    serves.join();
    REQUIRE(expected[0].body == "hello you");
    REQUIRE(expected[1].body.size() == 2'000'000);
    REQUIRE(expected[2].body.ends_with(";998;999;"));
    REQUIRE(expected[3].status == 500);
    REQUIRE(expected[4].status == 404);

    SUBCASE("a fiber for each connection") {
        httplib::Server server;
        server.new_task_queue = [] { return new fiber_queue; };
        add_handlers(server);
        serving(server, [&](int here) { CHECK((ask_everything(here) == expected)); });
    }
    SUBCASE("accepting in a fiber, and the library's own pool of threads") {
        httplib::Server server;
        add_handlers(server);
        serving(server, [&](int here) { CHECK((ask_everything(here) == expected)); });
    }
}

TEST_CASE("cpp-httplib's server and its clients: two hundred requests at once, all on one thread") {
    allow_many_descriptors();
    constexpr std::size_t count = 200;
    std::size_t inside = 0;
    coir::event go_on;
    httplib::Server server;
    server.new_task_queue = [] { return new fiber_queue; };
    server.Get("/gather", [&](const httplib::Request&, httplib::Response& response) {
        ++inside;
        go_on.wait();
        response.set_content("together", "text/plain");
    });
    std::vector<answer> answers(count);
    crowd most;
    serving(server, [&](int port) {
        coir::fiber_group requests;
        for (std::size_t i = 0; i < count; ++i) {
            requests.spawn({.name = "request"}, [&, i] {
                httplib::Client mine{"127.0.0.1", port};
                mine.set_read_timeout(30s);
                answers[i] = answer_of(mine.Get("/gather"));
            });
            // Its backlog is 5: of more that come at once, the kernel makes some wait for a second.
            while (inside <= i)
                coir::this_fiber::sleep_for(1ms);
        }
        most.look();
        go_on.set();
        requests.join();
    });
    for (const auto& each : answers)
        CHECK(each.body == "together");
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

TEST_CASE("cpp-httplib's server goes on when a client is gone midway") {
    httplib::Server server;
    server.new_task_queue = [] { return new fiber_queue; };
    add_handlers(server);
    serving(server, [&](int port) {
        const int half = connect_to(port);
        REQUIRE(::write(half, "POST /echo HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf", 46) > 0);
        const int unread = connect_to(port);
        REQUIRE(::write(unread, "GET /chunks HTTP/1.1\r\n\r\n", 24) == 24);
        CHECK(httplib::Client("127.0.0.1", port).Get("/hello?name=one")->body == "hello one");
        ::close(half);
        ::close(unread);
        CHECK(httplib::Client("127.0.0.1", port).Get("/hello?name=two")->body == "hello two");
    });
}

TEST_CASE("a deadline and cancellation end cpp-httplib's server") {
    const auto serve = [] {
        httplib::Server server;
        server.new_task_queue = [] { return new fiber_queue; };
        return server.listen("127.0.0.1", free_port());
    };
    CHECK_FALSE(with_deadline(serve));
    CHECK_FALSE(with_cancellation(serve));
}

} // namespace clients
