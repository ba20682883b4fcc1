// SPDX-License-Identifier: BSL-1.0
// Names. No network is needed: numbers, the hosts file, and names that are never asked for.
#include "native_diff.hpp"

#include <coir/deadline.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <string>

namespace {

std::string text_of(const sockaddr* address)
{
    char text[INET6_ADDRSTRLEN + 8] = "?";
    if (address->sa_family == AF_INET) {
        const auto* in = reinterpret_cast<const sockaddr_in*>(address);
        ::inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        return std::string{text} + ' ' + std::to_string(ntohs(in->sin_port));
    }
    if (address->sa_family == AF_INET6) {
        const auto* in = reinterpret_cast<const sockaddr_in6*>(address);
        ::inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        return std::string{text} + ' ' + std::to_string(ntohs(in->sin6_port));
    }
    return text;
}

const char* name_of_code(int code)
{
    switch (code) {
    case 0: return "0";
    case EAI_NONAME: return "EAI_NONAME";
    case EAI_SERVICE: return "EAI_SERVICE";
    case EAI_FAMILY: return "EAI_FAMILY";
    case EAI_BADFLAGS: return "EAI_BADFLAGS";
    case EAI_SOCKTYPE: return "EAI_SOCKTYPE";
    case EAI_AGAIN: return "EAI_AGAIN";
    case EAI_OVERFLOW: return "EAI_OVERFLOW";
    case EAI_ADDRFAMILY: return "EAI_ADDRFAMILY";
    case EAI_SYSTEM: return "EAI_SYSTEM";
    default: return "another error";
    }
}

void look_up(stage& on, const char* node, const char* service, const addrinfo* hints)
{
    addrinfo* found = nullptr;
    const int result = ::getaddrinfo(node, service, hints, &found);
    on.note(node ? node : "(null)", service ? service : "(null)", name_of_code(result));
    if (result != 0)
        return;
    for (const auto* each = found; each; each = each->ai_next)
        on.note("  ", each->ai_family, each->ai_socktype, each->ai_protocol, text_of(each->ai_addr),
                each->ai_canonname ? each->ai_canonname : "-");
    ::freeaddrinfo(found);
}

addrinfo hints_of(int family, int type, int flags)
{
    addrinfo hints{};
    hints.ai_family = family;
    hints.ai_socktype = type;
    hints.ai_flags = flags;
    return hints;
}

std::ptrdiff_t descriptors_of_process()
{
    return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, {});
}

void note_host(stage& on, const hostent* found)
{
    if (!found) {
        on.note("not found,", h_errno);
        return;
    }
    on.note(found->h_name, found->h_addrtype, found->h_length);
    for (char** alias = found->h_aliases; *alias; ++alias)
        on.note("  alias", *alias);
    for (char** address = found->h_addr_list; *address; ++address) {
        char text[INET6_ADDRSTRLEN];
        on.note("  address", ::inet_ntop(found->h_addrtype, *address, text, sizeof text));
    }
}

} // namespace

TEST_CASE("getaddrinfo finds what it finds on a thread") {
    native_diff([](stage& on) {
        for (const auto& hints :
             {hints_of(AF_UNSPEC, 0, 0), hints_of(AF_INET, SOCK_STREAM, AI_CANONNAME),
              hints_of(AF_INET6, SOCK_DGRAM, AI_V4MAPPED | AI_ALL), hints_of(AF_UNSPEC, SOCK_STREAM, AI_PASSIVE),
              hints_of(AF_INET, SOCK_STREAM, AI_NUMERICHOST | AI_NUMERICSERV)}) {
            look_up(on, "localhost", "80", &hints);
            look_up(on, "127.0.0.1", "443", &hints);
            look_up(on, "::1", "443", &hints);
            look_up(on, nullptr, "8080", &hints);
        }
        look_up(on, "localhost", nullptr, nullptr);
        look_up(on, "127.1", nullptr, nullptr);
    });
}

TEST_CASE("getaddrinfo fails as it fails on a thread") {
    native_diff([](stage& on) {
        const auto stream = hints_of(AF_UNSPEC, SOCK_STREAM, 0);
        look_up(on, "no-such-host.invalid", "80", &stream);
        look_up(on, "localhost", "no-such-service", &stream);
        look_up(on, "127.0.0.1", "no-such-service", &stream);
        look_up(on, nullptr, nullptr, &stream);
        look_up(on, "", "80", &stream);
        look_up(on, "127.0.0.1.5", "80", &stream);
        const auto family = hints_of(4711, SOCK_STREAM, 0);
        look_up(on, "localhost", "80", &family);
        const auto flags = hints_of(AF_UNSPEC, SOCK_STREAM, 1 << 30);
        look_up(on, "localhost", "80", &flags);
        const auto type = hints_of(AF_UNSPEC, 4711, 0);
        look_up(on, "localhost", "80", &type);
        const auto other_family = hints_of(AF_INET6, SOCK_STREAM, 0);
        look_up(on, "127.0.0.1", "80", &other_family);
        const auto numeric = hints_of(AF_UNSPEC, SOCK_STREAM, AI_NUMERICHOST);
        look_up(on, "localhost", "80", &numeric);
    });
}

TEST_CASE("several fibers resolve names at the same time") {
    CHECK(native_diff([](stage& on) {
              std::atomic<int> right{0};
              std::vector<companion> all;
              for (int i = 0; i < 20; ++i)
                  all.push_back(on.start([&] {
                      const auto hints = hints_of(AF_INET, SOCK_STREAM, 0);
                      addrinfo* found = nullptr;
                      if (::getaddrinfo("localhost", "80", &hints, &found) != 0)
                          return;
                      right += text_of(found->ai_addr) == "127.0.0.1 80";
                      ::freeaddrinfo(found);
                  }));
              for (auto& each : all)
                  each.join();
              on.note(right);
          }) == "20\n");
}

TEST_CASE("getnameinfo") {
    native_diff([](stage& on) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(80);
        const auto ask = [&](const char* number, socklen_t host_size, socklen_t service_size, int flags) {
            ::inet_pton(AF_INET, number, &address.sin_addr);
            char host[256] = "untouched";
            char service[256] = "untouched";
            const int result =
                ::getnameinfo(reinterpret_cast<sockaddr*>(&address), sizeof address, host_size ? host : nullptr,
                              host_size, service_size ? service : nullptr, service_size, flags);
            on.note(name_of_code(result), host, service);
        };
        ask("127.0.0.1", 256, 256, 0);
        ask("127.0.0.1", 256, 256, NI_NUMERICHOST | NI_NUMERICSERV);
        ask("127.0.0.1", 256, 0, NI_NAMEREQD);
        ask("127.0.0.1", 0, 256, 0);
        ask("127.0.0.1", 0, 0, 0);
        ask("127.0.0.1", 3, 256, 0);
        ask("127.0.0.1", 256, 1, 0);
        address.sin_family = 4711;
        ask("127.0.0.1", 256, 256, 0);
    });
}

TEST_CASE("gethostbyname and gethostbyname_r") {
    native_diff([](stage& on) {
        for (const char* name : {"localhost", "127.0.0.1", "no-such-host.invalid", "", "300.300.300.300"}) {
            note_host(on, ::gethostbyname(name));
            alignas(16) char memory[2049];
            for (const std::size_t shift : std::initializer_list<std::size_t>{0, 1, 5, 8})
                for (const std::size_t size : std::initializer_list<std::size_t>{2040, 8, 40, 90, 0}) {
                    hostent entry{};
                    hostent* found = &entry;
                    int error = -2;
                    const int result = ::gethostbyname_r(name, &entry, memory + shift, size, &found, &error);
                    on.note(name, shift, size, stage::error_name(result), found == &entry, error);
                    if (!found || result != 0)
                        continue;
                    // For numbers, glibc itself does not care.
                    const auto aligned = [](const void* pointer) {
                        return reinterpret_cast<std::uintptr_t>(pointer) % alignof(char*) == 0;
                    };
                    on.note(aligned(found->h_aliases), aligned(found->h_addr_list));
                    if (!aligned(found->h_aliases) || !aligned(found->h_addr_list))
                        continue;
                    note_host(on, found);
                    const auto within = [&](const void* pointer) {
                        return pointer >= memory + shift && pointer < memory + shift + size;
                    };
                    on.note(within(found->h_name), within(found->h_aliases), within(found->h_addr_list),
                            within(found->h_addr_list[0]));
                }
        }
    });
}

TEST_CASE("resolving is given up on cancellation and on a deadline") {
    const auto before = descriptors_of_process();
    coir::run([] {
        const auto hints = hints_of(AF_INET, SOCK_STREAM, 0);
        addrinfo* found = nullptr;
        {
            const coir::timeout limit{std::chrono::nanoseconds{0}};
            CHECK(::getaddrinfo("localhost", "80", &hints, &found) == EAI_SYSTEM);
            CHECK(errno == ETIMEDOUT);
            char host[64];
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            CHECK(::getnameinfo(reinterpret_cast<sockaddr*>(&address), sizeof address, host, sizeof host, nullptr, 0,
                                0) == EAI_SYSTEM);
            CHECK(errno == ETIMEDOUT);
            hostent entry;
            hostent* answer = &entry;
            char room[1024];
            int error = 0;
            CHECK(::gethostbyname_r("localhost", &entry, room, sizeof room, &answer, &error) == ETIMEDOUT);
            CHECK(answer == nullptr);
            CHECK(error == NETDB_INTERNAL);
            CHECK(::gethostbyname("localhost") == nullptr);
            CHECK(h_errno == NETDB_INTERNAL);
        }
        coir::fiber resolving{[&] {
            while (::getaddrinfo("localhost", "80", &hints, &found) == 0)
                ::freeaddrinfo(found);
            CHECK(errno == ECANCELED);
        }};
        ::usleep(5000);
        resolving.cancel();
        resolving.join();
        REQUIRE(::getaddrinfo("localhost", "80", &hints, &found) == 0);
        ::freeaddrinfo(found);
    });
    // A helper thread may still be at what nobody waits for any more.
    while (descriptors_of_process() > before)
        ::usleep(1000);
}
