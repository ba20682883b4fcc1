// SPDX-License-Identifier: BSL-1.0
// libc's databases: hosts by address, services, protocols, accounts and groups; and the resolver without a server.
#include "native_diff.hpp"

#include <coir/deadline.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <resolv.h>
#include <shadow.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace {

std::string text(const char* string)
{
    return string ? string : "(null)";
}

std::string text(char* const* list)
{
    std::string all;
    for (; list && *list; ++list)
        all += text(*list) + ',';
    return all;
}

std::string text(const hostent* entry)
{
    if (!entry)
        return "nobody";
    std::string all = text(entry->h_name) + ' ' + text(entry->h_aliases) + ' ' + std::to_string(entry->h_addrtype);
    for (char* const* each = entry->h_addr_list; *each; ++each) {
        char address[INET6_ADDRSTRLEN];
        all += ' ' + std::string{::inet_ntop(entry->h_addrtype, *each, address, sizeof address)};
    }
    return all;
}

std::string text(const passwd* entry)
{
    if (!entry)
        return "nobody";
    return text(entry->pw_name) + ' ' + text(entry->pw_passwd) + ' ' + std::to_string(entry->pw_uid) + ' ' +
           std::to_string(entry->pw_gid) + ' ' + text(entry->pw_gecos) + ' ' + text(entry->pw_dir) + ' ' +
           text(entry->pw_shell);
}

std::string text(const group* entry)
{
    return entry ? text(entry->gr_name) + ' ' + text(entry->gr_passwd) + ' ' + std::to_string(entry->gr_gid) + ' ' +
                       text(entry->gr_mem)
                 : "nobody";
}

std::string text(const servent* entry)
{
    return entry ? text(entry->s_name) + ' ' + text(entry->s_aliases) + ' ' +
                       std::to_string(ntohs(static_cast<uint16_t>(entry->s_port))) + ' ' + text(entry->s_proto)
                 : "nobody";
}

std::string text(const protoent* entry)
{
    return entry ? text(entry->p_name) + ' ' + text(entry->p_aliases) + ' ' + std::to_string(entry->p_proto) : "nobody";
}

std::string text(const spwd* entry)
{
    return entry ? text(entry->sp_namp) + ' ' + std::to_string(entry->sp_lstchg) : "nobody";
}

/// `call` is one of those with room of the caller's: with room enough, and with too little.
template <class Entry, class Call> void with_room(stage& on, const char* label, Call&& call)
{
    for (const std::size_t size : {std::size_t{4096}, std::size_t{8}}) {
        std::vector<char> room(size);
        Entry entry{};
        Entry* found = &entry;
        on.record_error(label, [&] { return call(&entry, room.data(), room.size(), &found); });
        on.note(size, found == &entry, text(found));
    }
}

} // namespace

TEST_CASE("accounts and groups are found as on a thread") {
    CHECK(native_diff([](stage& on) {
              on.note(text(::getpwnam("root")));
              on.note(text(::getpwnam("nobody-of-this-name")));
              on.note(text(::getpwuid(0)));
              on.note(text(::getpwuid(987654)));
              on.note(text(::getgrnam("root")));
              on.note(text(::getgrnam("no-such-group")));
              on.note(text(::getgrgid(0)));
              on.note(text(::getspnam("root")));
              with_room<passwd>(on, "getpwnam_r", [](auto... rest) { return ::getpwnam_r("root", rest...); });
              with_room<passwd>(on, "getpwnam_r", [](auto... rest) { return ::getpwnam_r("nobody-such", rest...); });
              with_room<passwd>(on, "getpwuid_r", [](auto... rest) { return ::getpwuid_r(0, rest...); });
              with_room<group>(on, "getgrnam_r", [](auto... rest) { return ::getgrnam_r("root", rest...); });
              with_room<group>(on, "getgrgid_r", [](auto... rest) { return ::getgrgid_r(0, rest...); });
              with_room<spwd>(on, "getspnam_r", [](auto... rest) { return ::getspnam_r("root", rest...); });
              std::array<gid_t, 8> groups{};
              int count = 8;
              on.record("getgrouplist", [&] { return ::getgrouplist("root", 7, groups.data(), &count); });
              on.note(count, groups[0]);
              count = 0;
              on.record("getgrouplist", [&] { return ::getgrouplist("root", 7, groups.data(), &count); });
              on.note(count > 0);
              on.record("innetgr", [] { return ::innetgr("nobody", nullptr, "root", nullptr); });
          }).find("root x 0 0 root /root") == 0);
}

TEST_CASE("services and protocols are found as on a thread") {
    CHECK(native_diff([](stage& on) {
              on.note(text(::getservbyname("http", "tcp")));
              on.note(text(::getservbyname("domain", nullptr)));
              on.note(text(::getservbyname("no-such-service", "tcp")));
              on.note(text(::getservbyport(htons(53), "udp")));
              on.note(text(::getservbyport(htons(1), "sctp")));
              on.note(text(::getprotobyname("tcp")));
              on.note(text(::getprotobynumber(17)));
              with_room<servent>(on, "by name", [](auto... rest) { return ::getservbyname_r("http", "tcp", rest...); });
              with_room<servent>(on, "by port",
                                 [](auto... rest) { return ::getservbyport_r(htons(53), nullptr, rest...); });
              with_room<protoent>(on, "by name", [](auto... rest) { return ::getprotobyname_r("tcp", rest...); });
              with_room<protoent>(on, "by number", [](auto... rest) { return ::getprotobynumber_r(6, rest...); });
          }).empty() == false);
}

TEST_CASE("hosts are found by name and by address as on a thread") {
    CHECK(native_diff([](stage& on) {
              on.note(text(::gethostbyname2("localhost", AF_INET)));
              on.note(text(::gethostbyname2("127.0.0.1", AF_INET)));
              on.note(text(::gethostbyname2("::1", AF_INET6)));
              h_errno = 0;
              on.note(text(::gethostbyname2("127.0.0.1.no.number", 4711)));
              on.note(h_errno);
              in_addr loopback{.s_addr = htonl(INADDR_LOOPBACK)};
              on.note(text(::gethostbyaddr(&loopback, sizeof loopback, AF_INET)));
              h_errno = 0;
              on.note(text(::gethostbyaddr(&loopback, 3, AF_INET)));
              on.note(h_errno);
              int error = 0;
              with_room<hostent>(on, "by address", [&](auto... rest) {
                  return ::gethostbyaddr_r(&loopback, sizeof loopback, AF_INET, rest..., &error);
              });
              with_room<hostent>(on, "by name", [&](auto... rest) {
                  return ::gethostbyname2_r("127.0.0.1", AF_INET, rest..., &error);
              });
              on.note(error);
          }).find("localhost") == 0);
}

TEST_CASE("the resolver refuses what is no name, and reports that where it belongs") {
    CHECK(native_diff([](stage& on) {
              unsigned char answer[512];
              const std::string too_long(300, 'x');
              h_errno = 0;
              on.note(::res_query(too_long.c_str(), C_IN, T_A, answer, sizeof answer));
              on.note(h_errno);
              h_errno = 0;
              on.note(::res_search(too_long.c_str(), C_IN, T_A, answer, sizeof answer) < 0);
              on.note(h_errno != 0);
              h_errno = 0;
              on.note(::res_querydomain(too_long.c_str(), "example", C_IN, T_A, answer, sizeof answer));
              on.note(h_errno);
              struct __res_state state = {};
              must(::res_ninit(&state));
              h_errno = 0;
              on.note(::res_nquery(&state, too_long.c_str(), C_IN, T_A, answer, sizeof answer));
              on.note(h_errno);
              h_errno = 0;
              on.note(::res_nsearch(&state, too_long.c_str(), C_IN, T_A, answer, sizeof answer) < 0);
              on.note(h_errno != 0);
              h_errno = 0;
              on.note(::res_nquerydomain(&state, too_long.c_str(), "example", C_IN, T_A, answer, sizeof answer));
              on.note(h_errno);
              unsigned char message[512];
              const int size = ::res_mkquery(QUERY, "localhost", C_IN, T_A, nullptr, 0, nullptr, message, 512);
              on.note(size);
              on.record("no room", [&] { return ::res_send(message, size, answer, 3); });
              on.record("no room", [&] { return ::res_nsend(&state, message, size, answer, 3); });
              ::res_nclose(&state);
          }).find("-1\n3\n") == 0);
}

TEST_CASE("thirty fibers ask at the same time, and none gets another's answer") {
    coir::run([] {
        std::vector<coir::fiber> fibers;
        std::atomic<int> right{0};
        for (int i = 0; i < 30; ++i)
            fibers.emplace_back([&, i] {
                const auto* service = ::getservbyname(i % 2 ? "http" : "domain", "tcp");
                if (service && std::strcmp(service->s_name, i % 2 ? "http" : "domain") == 0)
                    ++right;
            });
        for (auto& each : fibers)
            each.join();
        CHECK(right == 30);
    });
}

TEST_CASE("a look-up is not begun in a fiber that has been cancelled or has no time left") {
    CHECK(in_fiber([](stage& on) {
              const coir::timeout limit{std::chrono::nanoseconds{0}};
              on.note(text(::getpwnam("root")));
              on.note(stage::error_name(errno));
              h_errno = 0;
              in_addr loopback{.s_addr = htonl(INADDR_LOOPBACK)};
              on.note(text(::gethostbyaddr(&loopback, sizeof loopback, AF_INET)));
              on.note(h_errno == NETDB_INTERNAL);
              passwd entry{};
              passwd* found = &entry;
              char room[512];
              on.record_error("getpwuid_r", [&] { return ::getpwuid_r(0, &entry, room, sizeof room, &found); });
              on.note(found == nullptr);
              unsigned char answer[512];
              on.record("res_query", [&] { return ::res_query("localhost", C_IN, T_A, answer, sizeof answer); });
              unsigned char message[512];
              const int size = ::res_mkquery(QUERY, "localhost", C_IN, T_A, nullptr, 0, nullptr, message, 512);
              h_errno = 0;
              on.record("res_send", [&] { return ::res_send(message, size, answer, sizeof answer); });
              on.note(h_errno == NETDB_INTERNAL);
          }) == "nobody\nETIMEDOUT\nnobody\n1\ngetpwuid_r ETIMEDOUT\n1\nres_query -1 ETIMEDOUT\n"
                "res_send -1 ETIMEDOUT\n1\n");
}
