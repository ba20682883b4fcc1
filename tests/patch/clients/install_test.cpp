// SPDX-License-Identifier: BSL-1.0
// A program that is linked with coir-net and libcurl, so that libcurl finds libc; coir::patch::install changes that.
#include "curl_requests.hpp"
#include "server.hpp"
#include "together.hpp"

#include <coir/patch_install.hpp>

#include <doctest/doctest.h>

#include <signal.h>

#include <vector>

namespace clients {

TEST_CASE("libcurl's requests overlap once the patch is installed, and no longer when it is uninstalled") {
    ::signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    auto& web = shared<web_server>();
    const auto most_at_once = [&](std::size_t count) {
        std::vector<response> responses(count);
        const auto url = web.http("/peer/slow?of=" + std::to_string(count));
        const auto most =
            together(count, [&](std::size_t i) { responses[i] = get(url, web.peer.certificate(), is_nonblocking); });
        for (const auto& each : responses)
            CHECK(each.body == "slow\n");
        CHECK(most.threads == 1);
        return most.waiting;
    };

    // Without the patch nobody else runs before a request is complete, and the server would wait for the others.
    CHECK(most_at_once(1) == 0);
    const auto report = coir::patch::install({.library = COIR_TEST_PATCH});
    CHECK(report.replaced > 0);
    for (const auto& [symbol, library, why] : report.missed)
        FAIL_CHECK(library << " calls " << symbol << " unpatched: " << why);
    CHECK(most_at_once(30) == 30);
    coir::patch::uninstall();
    CHECK(most_at_once(1) == 0);
}

} // namespace clients
