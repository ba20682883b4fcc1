// SPDX-License-Identifier: BSL-1.0
// Unmodified libcurl in fibers, with nginx.
#include "curl_requests.hpp"
#include "server.hpp"
#include "together.hpp"

#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <signal.h>
#include <unistd.h>

#include <vector>

namespace clients {
namespace {

web_server& web()
{
    [[maybe_unused]] static const bool once = [] {
        allow_many_descriptors();
        ::signal(SIGPIPE, SIG_IGN); // libcurl wants that of programs that set CURLOPT_NOSIGNAL
        curl_global_init(CURL_GLOBAL_DEFAULT);
        return true;
    }();
    return shared<web_server>();
}

/// Starts the server before the test case does anything that could not be left by a failure.
struct with_web {
    with_web() { web(); }
};

response get_slow(const std::string& url, int together)
{
    return get(url + std::to_string(together), web().peer.certificate(), is_nonblocking);
}

void check_thirty_at_once(const std::string& url)
{
    constexpr int count = 30;
    const auto expected = natively([&] { return get_slow(url, 1); });
    REQUIRE(expected.body == "slow\n");
    std::vector<response> responses(count + 1);
    const auto most = all_but_one_together(count, [&](std::size_t i) { responses[i] = get_slow(url, count + 1); });
    for (const auto& each : responses)
        CHECK(each == expected);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

} // namespace

TEST_CASE_FIXTURE(with_web, "thirty fibers make HTTP requests with libcurl at once, on one thread") {
    check_thirty_at_once(web().http("/peer/slow?of="));
}

TEST_CASE_FIXTURE(with_web, "thirty fibers make HTTPS requests with libcurl at once, on one thread") {
    check_thirty_at_once(web().https("/peer/slow?of="));
}

TEST_CASE_FIXTURE(with_web, "libcurl's connections to a numeric address need no thread to resolve it") {
    const auto most = together(1, [&](std::size_t) { get_slow(web().http("/peer/slow?of="), 1); });
    CHECK(most.threads == 1);
}

TEST_CASE_FIXTURE(with_web, "a thousand fibers make HTTP requests with libcurl at once, on one thread") {
    constexpr int count = 1000;
    const auto url = web().http("/peer/slow?of=");
    const auto expected = natively([&] { return get_slow(url, 1); });
    std::size_t equal = 0;
    const auto most = all_but_one_together(count, [&](std::size_t) { equal += get_slow(url, count + 1) == expected; });
    CHECK(equal == count + 1);
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

TEST_CASE_FIXTURE(with_web, "an HTTPS transfer with libcurl is as native") {
    SUBCASE("with the server's authority") {
        const auto result = check_native([&] { return get(web().https("/small"), web().peer.certificate()); });
        CHECK(result.code == CURLE_OK);
        CHECK(result.body == "small\n");
    }
    SUBCASE("with another authority") {
        const auto result = check_native([&] { return get(web().https("/small"), web().peer.wrong_certificate()); });
        CHECK(result.code == CURLE_PEER_FAILED_VERIFICATION);
    }
    SUBCASE("with the system's authorities") {
        const auto result = check_native([&] { return get(web().https("/small")); });
        CHECK(result.code == CURLE_PEER_FAILED_VERIFICATION);
    }
    SUBCASE("with a port that speaks no TLS") {
        const auto url = "https://127.0.0.1:" + std::to_string(web().port) + "/small";
        const auto result = check_native([&] { return get(url); });
        CHECK(result.code == CURLE_SSL_CONNECT_ERROR);
    }
}

TEST_CASE_FIXTURE(with_web, "a large download with libcurl is as native") {
    for (const auto& url : {web().http("/big"), web().https("/big")}) {
        const auto result = check_native([&] { return get(url, web().peer.certificate(), is_nonblocking); });
        CHECK(result.body.size() == 10'000'000);
        CHECK(result.body.ends_with("000999999\n"));
    }
}

TEST_CASE_FIXTURE(with_web, "a large upload with libcurl is as native") {
    std::string data;
    for (int i = 0; data.size() < 5'000'000; ++i)
        data += std::to_string(i);
    for (const auto& url : {web().http("/peer/sum"), web().https("/peer/sum")}) {
        const auto result = check_native([&] {
            const auto handle = make_handle(url);
            curl_easy_setopt(handle.get(), CURLOPT_CAINFO, web().peer.certificate().c_str());
            curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, data.data());
            curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(data.size()));
            return perform(handle.get(), is_nonblocking);
        });
        CHECK(result.code == CURLE_OK);
        CHECK(result.body.starts_with(std::to_string(data.size()) + " "));
    }
}

TEST_CASE_FIXTURE(with_web, "libcurl follows a redirect as natively") {
    const auto result = check_native([&] {
        const auto handle = make_handle(web().http("/redirect"));
        curl_easy_setopt(handle.get(), CURLOPT_FOLLOWLOCATION, 1L);
        return perform(handle.get());
    });
    CHECK(result.redirects == 1);
    CHECK(result.body == "small\n");
}

TEST_CASE_FIXTURE(with_web, "libcurl's errors are as native") {
    SUBCASE("its own timeout") {
        const auto transfer = [&] {
            const auto handle = make_handle(web().http("/peer/never"));
            curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT_MS, 200L);
            auto result = perform(handle.get());
            result.error.clear(); // says after how many milliseconds
            return result;
        };
        CHECK(check_native(transfer).code == CURLE_OPERATION_TIMEDOUT);
    }
    SUBCASE("a refused connection") {
        const auto url = "http://127.0.0.1:" + std::to_string(free_port()) + "/";
        const auto transfer = [&] {
            auto result = get(url);
            result.error = result.error.substr(0, result.error.find(" after ")); // says after how many milliseconds
            return result;
        };
        const auto result = check_native(transfer);
        CHECK(result.code == CURLE_COULDNT_CONNECT);
    }
    SUBCASE("an unknown host") {
        const auto result = check_native([&] { return get("http://nowhere.invalid/"); });
        CHECK(result.code == CURLE_COULDNT_RESOLVE_HOST);
    }
    SUBCASE("a bad URL") {
        CHECK(check_native([&] { return get("http://[/"); }).code == CURLE_URL_MALFORMAT);
        CHECK(check_native([&] { return get("nosuch://127.0.0.1/"); }).code == CURLE_UNSUPPORTED_PROTOCOL);
    }
    SUBCASE("a server that hangs up midway") {
        const auto plain = "http://127.0.0.1:" + std::to_string(web().peer.port) + "/cut";
        CHECK(check_native([&] { return get(plain); }).code == CURLE_PARTIAL_FILE);
        const auto tls = "https://127.0.0.1:" + std::to_string(web().peer.tls_port) + "/cut";
        const auto result = check_native([&] { return get(tls, web().peer.certificate()); });
        CHECK(result.code != CURLE_OK);
        CHECK(result.body.size() == 100);
    }
}

TEST_CASE("a web server that is killed midway is libcurl's own error, as native") {
    web();
    for (const bool tls : {false, true}) {
        CAPTURE(tls);
        std::optional<web_server> server;
        start(server);
        const auto url = tls ? server->https("/small") : server->http("/small");
        const auto result = check_killed_midway(
            server->process, [&] { return url; }, [](const std::string& from) { return get(from); });
        CHECK(result.code == (tls ? CURLE_SSL_CONNECT_ERROR : CURLE_RECV_ERROR));
    }
}

TEST_CASE_FIXTURE(with_web, "failing and good transfers with libcurl do not disturb each other") {
    const auto good = natively([&] { return get(web().https("/big"), web().peer.certificate()); });
    const auto bad = natively([&] { return get(web().https("/big"), web().peer.wrong_certificate()); });
    REQUIRE(good.code == CURLE_OK);
    REQUIRE(bad.code == CURLE_PEER_FAILED_VERIFICATION);
    std::vector<response> responses(40);
    together(responses.size(), [&](std::size_t i) {
        responses[i] = get(web().https("/big"), i % 2 ? web().peer.certificate() : web().peer.wrong_certificate());
    });
    for (std::size_t i = 0; i < responses.size(); ++i)
        CHECK(responses[i] == (i % 2 ? good : bad));
}

TEST_CASE_FIXTURE(with_web, "a libcurl handle keeps its connection from one request to the next") {
    const auto transfer = [&] {
        const auto handle = make_handle(web().http("/small"));
        std::string result;
        for (int i = 0; i < 20; ++i) {
            result += perform(handle.get()).body;
            long connects = -1;
            curl_easy_getinfo(handle.get(), CURLINFO_NUM_CONNECTS, &connects);
            result += std::to_string(connects);
        }
        return result;
    };
    const auto expected = natively(transfer);
    CHECK(in_a_fiber(transfer) == expected);
    std::vector<std::string> results(20);
    together(results.size(), [&](std::size_t i) { results[i] = transfer(); });
    for (const auto& each : results)
        CHECK(each == expected);
}

TEST_CASE_FIXTURE(with_web, "many libcurl handles of one fiber are as native") {
    const auto transfer = [&] {
        std::vector<easy_handle> handles;
        std::string result;
        for (int i = 0; i < 100; ++i)
            handles.push_back(make_handle(web().http("/small")));
        for (const auto& each : handles)
            result += perform(each.get()).body;
        return result;
    };
    const auto expected = natively(transfer);
    CHECK(in_a_fiber(transfer) == expected);
}

namespace {

/// Several transfers with the multi interface: the bodies in order, and how each ended.
std::string with_multi(const std::string& url, int count)
{
    struct transfer {
        easy_handle handle;
        std::string body;
    };
    std::vector<transfer> transfers;
    CURLM* multi = curl_multi_init();
    for (int i = 0; i < count; ++i)
        transfers.push_back({make_handle(url), {}});
    for (auto& each : transfers) {
        curl_easy_setopt(each.handle.get(), CURLOPT_WRITEDATA, &each.body);
        curl_multi_add_handle(multi, each.handle.get());
    }
    std::string result;
    int running = 1;
    while (running > 0) {
        if (const auto code = curl_multi_perform(multi, &running); code != CURLM_OK)
            result += curl_multi_strerror(code);
        if (running > 0)
            if (const auto code = curl_multi_poll(multi, nullptr, 0, 1000, nullptr); code != CURLM_OK)
                return result + curl_multi_strerror(code);
    }
    int queued = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &queued))
        result += curl_easy_strerror(message->data.result);
    for (auto& each : transfers) {
        result += each.body;
        curl_multi_remove_handle(multi, each.handle.get());
    }
    transfers.clear();
    curl_multi_cleanup(multi);
    return result;
}

} // namespace

TEST_CASE_FIXTURE(with_web, "libcurl's multi interface in a fiber is as native") {
    // All ten must be on their way at once for the server to answer.
    const auto url = web().http("/peer/slow?of=10");
    const auto expected = natively([&] { return with_multi(url, 10); });
    REQUIRE(expected.find("slow\nslow\n") != std::string::npos);
    CHECK(in_a_fiber([&] { return with_multi(url, 10); }) == expected);

    // Three fibers with ten each, and ten more.
    std::vector<std::string> results(4);
    const auto most =
        all_but_one_together(3, [&](std::size_t i) { results[i] = with_multi(web().http("/peer/slow?of=40"), 10); });
    for (const auto& each : results)
        CHECK(each == expected);
    CHECK(most.waiting == 3);
    CHECK(most.threads == 1);
}

// ---- deadlines and cancellation -------------------------------------------------------------------------------------

namespace {

/// poll fails when the fiber has no time left or is cancelled. libcurl's multi interface has a code for that, which the
/// easy interface of 7.88 turns into one that it has.
bool is_failed_poll(CURLcode code)
{
    return code == CURLE_UNRECOVERABLE_POLL || code == CURLE_BAD_FUNCTION_ARGUMENT;
}

} // namespace

TEST_CASE_FIXTURE(with_web, "a deadline ends a libcurl transfer with an error of libcurl's") {
    for (const auto& url : {web().http("/peer/never"), web().https("/peer/never")}) {
        CAPTURE(url);
        response result;
        bool expired = false;
        response next;
        coir::run([&] {
            const auto handle = make_handle(url);
            curl_easy_setopt(handle.get(), CURLOPT_CAINFO, web().peer.certificate().c_str());
            {
                coir::timeout limit{200ms};
                result = perform(handle.get());
                expired = limit.expired();
            }
            curl_easy_setopt(handle.get(), CURLOPT_URL, web().http("/small").c_str());
            next = perform(handle.get());
        });
        CHECK(expired);
        CHECK(is_failed_poll(result.code));
        CHECK(result.body.empty());
        CHECK(next.body == "small\n");
    }
}

TEST_CASE_FIXTURE(with_web, "a deadline ends a libcurl transfer that cannot connect") {
    const full_port full;
    const auto result = with_deadline([&] { return get("http://127.0.0.1:" + std::to_string(full.port()) + "/"); });
    CHECK(is_failed_poll(result.code));
}

TEST_CASE_FIXTURE(with_web, "cancellation ends a libcurl transfer with an error of libcurl's") {
    for (const auto& url : {web().http("/peer/never"), web().https("/peer/never")}) {
        CAPTURE(url);
        const auto result = with_cancellation([&] { return get(url, web().peer.certificate()); });
        CHECK(is_failed_poll(result.code));
    }
}

TEST_CASE_FIXTURE(with_web, "a thousand libcurl transfers are cancelled at once and leave nothing open") {
    const auto before = open_descriptors();
    std::size_t ended = 0;
    const auto url = web().http("/peer/never");
    coir::run([&] {
        coir::fiber_group transfers;
        for (int i = 0; i < 1000; ++i)
            transfers.spawn([&] { ended += is_failed_poll(get(url).code); });
        coir::this_fiber::sleep_for(200ms);
        transfers.cancel();
        transfers.join();
    });
    CHECK(ended == 1000);
    CHECK(open_descriptors() == before);
}

} // namespace clients
