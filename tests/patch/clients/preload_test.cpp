// SPDX-License-Identifier: BSL-1.0
// A program that is linked with coir and libcurl only, run with LD_PRELOAD=libcoir-patch.so.
#include "curl_requests.hpp"
#include "server.hpp"
#include "together.hpp"

#include <doctest/doctest.h>

#include <dlfcn.h>
#include <signal.h>

#include <cstdlib>
#include <vector>

namespace clients {

TEST_CASE("thirty fibers make HTTP and HTTPS requests with libcurl at once, under LD_PRELOAD") {
    const char* preloaded = std::getenv("LD_PRELOAD");
    REQUIRE_MESSAGE((preloaded && std::string{preloaded}.find("libcoir-patch.so") != std::string::npos),
                    "this test is run with LD_PRELOAD=libcoir-patch.so");
    ::signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    auto& web = shared<web_server>();

    for (const auto& url : {web.http("/peer/slow?of="), web.https("/peer/slow?of=")}) {
        CAPTURE(url);
        constexpr int count = 30;
        const auto request = [&](int number) {
            return get(url + std::to_string(number), web.peer.certificate(), is_nonblocking);
        };
        const auto expected = natively([&] { return request(1); });
        REQUIRE(expected.body == "slow\n");
        std::vector<response> responses(count + 1);
        const auto most = all_but_one_together(count, [&](std::size_t i) { responses[i] = request(count + 1); });
        for (const auto& each : responses)
            CHECK(each == expected);
        CHECK(most.waiting == count);
        CHECK(most.threads == 1);
    }
}

} // namespace clients
