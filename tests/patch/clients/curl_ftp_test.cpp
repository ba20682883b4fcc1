// SPDX-License-Identifier: BSL-1.0
// Unmodified libcurl's FTP in fibers, with vsftpd: two connections for each transfer.
#include "curl_requests.hpp"
#include "server.hpp"
#include "together.hpp"

#include <coir/event.hpp>
#include <coir/patch.hpp>

#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace clients {
namespace {

struct ftp_server {
    ftp_server()
    {
        const auto files = process.directory() / "files";
        std::filesystem::create_directory(files);
        std::filesystem::permissions(files, std::filesystem::perms{0777});
        std::ofstream{process.directory() / "template"} << "listen=YES\n"
                                                           "listen_address=127.0.0.1\n"
                                                           "pasv_address=127.0.0.1\n"
                                                           "background=NO\n"
                                                           "run_as_launching_user=YES\n"
                                                           "seccomp_sandbox=NO\n"
                                                           "anonymous_enable=YES\n"
                                                           "no_anon_password=YES\n"
                                                           "local_enable=NO\n"
                                                           "write_enable=YES\n"
                                                           "anon_upload_enable=YES\n"
                                                           "anon_mkdir_write_enable=YES\n"
                                                           "anon_other_write_enable=YES\n"
                                                           "anon_world_readable_only=NO\n"
                                                           "anon_umask=022\n"
                                                        << "listen_port=" << port << "\n"
                                                        << "anon_root=" << files.string() << "\n";
        // The file must belong to who runs vsftpd.
        process.start("cp template config && exec " + program("vsftpd", "vsftpd") + " \"$PWD/config\"", "nobody",
                      SIGTERM);
    }
    bool is_ready() const { return accepts_connections(port); }
    std::string url(const std::string& path) const { return "ftp://127.0.0.1:" + std::to_string(port) + path; }
    std::string content(const std::string& path) const
    {
        std::ostringstream text;
        text << std::ifstream{process.directory() / ("files" + path)}.rdbuf();
        return text.str();
    }

    server_process process{"ftp"};
    int port = free_port();
};

ftp_server& ftp()
{
    [[maybe_unused]] static const bool once = [] {
        ::signal(SIGPIPE, SIG_IGN);
        curl_global_init(CURL_GLOBAL_DEFAULT);
        return true;
    }();
    return shared<ftp_server>();
}

struct with_ftp {
    with_ftp() { ftp(); }
};

/// What is sent; `before` is called before the first byte.
struct source {
    std::string_view rest;
    std::function<void()> before = [] {};

    static std::size_t read(char* into, std::size_t, std::size_t size, void* untyped)
    {
        auto& self = *static_cast<source*>(untyped);
        std::exchange(self.before, [] {})();
        const auto count = self.rest.copy(into, size);
        self.rest.remove_prefix(count);
        return count;
    }
};

response upload(CURL* handle, source from)
{
    curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, source::read);
    curl_easy_setopt(handle, CURLOPT_READDATA, &from);
    curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(from.rest.size()));
    return perform(handle, is_nonblocking);
}

response upload(const std::string& url, source from)
{
    return upload(make_handle(url).get(), std::move(from));
}

std::string large()
{
    std::string data;
    while (data.size() < 5'000'000)
        data += std::to_string(data.size());
    return data;
}

/// Of a response, all but the milliseconds that it speaks of.
response without_time(response it)
{
    it.error = it.error.substr(0, it.error.find(" after "));
    return it;
}

/// See curl_test.cpp.
bool is_failed_poll(CURLcode code)
{
    return code == CURLE_UNRECOVERABLE_POLL || code == CURLE_BAD_FUNCTION_ARGUMENT;
}

} // namespace

TEST_CASE_FIXTURE(with_ftp, "thirty fibers upload by FTP with libcurl at once, on one thread") {
    constexpr std::size_t count = 30; // as many as vsftpd's backlog takes
    const auto data = large().substr(0, 200'000);
    const auto expected = natively([&] { return upload(ftp().url("/native"), {data}); });
    REQUIRE(expected.code == CURLE_OK);
    std::vector<response> responses(count);
    std::size_t transferring = 0;
    coir::event all_transfer;
    paused stopped{ftp().process};
    const auto most = together(
        count,
        [&](std::size_t i) {
            const auto together = [&] {
                if (++transferring == count)
                    all_transfer.set();
                all_transfer.wait();
            };
            responses[i] = upload(ftp().url("/fiber" + std::to_string(i)), {data, together});
        },
        [&] { stopped.resume(); });
    for (std::size_t i = 0; i < count; ++i) {
        CHECK(responses[i] == expected);
        CHECK((ftp().content("/fiber" + std::to_string(i)) == data));
    }
    CHECK(most.waiting == count);
    CHECK(most.threads == 1);
}

TEST_CASE_FIXTURE(with_ftp, "a large upload and download by FTP with libcurl are as native") {
    const auto data = large();
    const auto up = check_native([&] {
        const auto handle = make_handle(ftp().url("/new/directory/large"));
        curl_easy_setopt(handle.get(), CURLOPT_FTP_CREATE_MISSING_DIRS, static_cast<long>(CURLFTP_CREATE_DIR));
        return upload(handle.get(), {data});
    });
    CHECK(up.code == CURLE_OK);
    CHECK((ftp().content("/new/directory/large") == data));
    const auto down = check_native([] { return get(ftp().url("/new/directory/large"), "", is_nonblocking); });
    CHECK((down.body == data));
    const auto list = check_native([] {
        const auto handle = make_handle(ftp().url("/new/"));
        curl_easy_setopt(handle.get(), CURLOPT_DIRLISTONLY, 1L);
        return perform(handle.get());
    });
    CHECK(list.body == "directory\n");
}

TEST_CASE_FIXTURE(with_ftp, "a libcurl handle uploads many files over one FTP connection, as natively") {
    const auto work = [](const std::string& directory) {
        const auto handle = make_handle(ftp().url(""));
        curl_easy_setopt(handle.get(), CURLOPT_FTP_CREATE_MISSING_DIRS, static_cast<long>(CURLFTP_CREATE_DIR));
        std::string result;
        for (int i = 0; i < 4; ++i) {
            const auto path = "/" + directory + "/" + std::to_string(i);
            curl_easy_setopt(handle.get(), CURLOPT_URL, ftp().url(path).c_str());
            result += std::to_string(upload(handle.get(), {path}).code);
            result += ftp().content(path) == path ? "same" : "different";
            long connects = -1;
            curl_easy_getinfo(handle.get(), CURLINFO_NUM_CONNECTS, &connects);
            result += std::to_string(connects) + ";";
        }
        return result;
    };
    const auto expected = natively([&] {
        return work("native"
                    "s");
    });
    CHECK(expected.starts_with("0same"));
    std::vector<std::string> results(3);
    together(results.size(), [&](std::size_t i) { results[i] = work("fibers" + std::to_string(i)); });
    for (const auto& each : results)
        CHECK(each == expected);
}

TEST_CASE_FIXTURE(with_ftp, "libcurl's errors with FTP are as native") {
    CHECK(check_native([] { return upload(ftp().url("/none/file"), {"x"}); }).code == CURLE_REMOTE_ACCESS_DENIED);
    CHECK(check_native([] { return get(ftp().url("/none")); }).code == CURLE_REMOTE_FILE_NOT_FOUND);
    const auto refused = check_native(
        [port = free_port()] { return without_time(get("ftp://127.0.0.1:" + std::to_string(port) + "/")); });
    CHECK(refused.code == CURLE_COULDNT_CONNECT);
    const silent_port silent;
    const auto late = check_native([&] {
        const auto handle = make_handle("ftp://127.0.0.1:" + std::to_string(silent.port()) + "/");
        curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT_MS, 200L);
        return without_time(upload(handle.get(), {"x"}));
    });
    CHECK(late.code == CURLE_OPERATION_TIMEDOUT);
}

TEST_CASE("an FTP server that is killed midway is libcurl's own error, as native") {
    std::optional<ftp_server> server;
    ftp();
    start(server);
    const auto result = check_killed_midway(
        server->process, [&] { return server->url("/file"); },
        [](const std::string& url) { return upload(url, {"x"}); });
    CHECK(result.code == CURLE_RECV_ERROR);
}

TEST_CASE_FIXTURE(with_ftp, "a deadline and cancellation end an FTP upload with an error of libcurl's") {
    const auto handle = make_handle(ftp().url("/late"));
    {
        const paused stopped{ftp().process};
        CHECK(is_failed_poll(with_deadline([&] { return upload(handle.get(), {"late"}); }).code));
        CHECK(is_failed_poll(with_cancellation([&] { return upload(handle.get(), {"late"}); }).code));
    }
    CHECK(in_a_fiber([&] { return upload(handle.get(), {"in time"}); }).code == CURLE_OK);
    CHECK(ftp().content("/late") == "in time");

    // And in the midst of the data: it is sent, and then nobody says that it has come. Of the session's connection
    // libcurl asks poll in another place, and has another code for its failure.
    std::optional<paused> stopped;
    const auto stop_and_wait = [&] {
        stopped.emplace(ftp().process);
        std::this_thread::sleep_for(10s);
    };
    CHECK(with_deadline([&] { return upload(handle.get(), {"late", stop_and_wait}); }).code == CURLE_RECV_ERROR);
    stopped.reset();
}

} // namespace clients
