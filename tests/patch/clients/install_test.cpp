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
    const auto request = [&](std::size_t of) {
        CHECK(get(web.http("/peer/slow?of=" + std::to_string(of)), web.peer.certificate(), is_nonblocking).body ==
              "slow\n");
    };

    // Without the patch nobody else runs before a request is complete, and the server would wait for the others.
    const auto alone = [&] { return together(1, [&](std::size_t) { request(1); }).waiting; };
    CHECK(alone() == 0);
    const auto report = coir::patch::install({.library = COIR_TEST_PATCH});
    CHECK(report.replaced > 0);
    for (const auto& [symbol, library, why] : report.missed)
        FAIL_CHECK(library << " calls " << symbol << " unpatched: " << why);
    constexpr std::size_t count = 30;
    const auto most = all_but_one_together(count, [&](std::size_t) { request(count + 1); });
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
    coir::patch::uninstall();
    CHECK(alone() == 0);
}

} // namespace clients
