// SPDX-License-Identifier: BSL-1.0
// Names that a server has to be asked for. A program of its own, which runs in tests/support/own_network: there the
// name server of resolv.conf is the one below, and it answers when it is told to.
#include "descriptors.hpp"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace {

/// The threads that look names up for getaddrinfo_a stay for a second, in case there is more to do.
class threads_end {
public:
    threads_end() = default;
    threads_end(const threads_end&) = delete;
    threads_end& operator=(const threads_end&) = delete;
    ~threads_end()
    {
        while (threads_of_process() > before_)
            ::usleep(1000);
    }

private:
    std::size_t before_ = threads_of_process();
};

/// What is asked for in a message, and what the answer is: 192.0.2.7, or that there is no such name.
std::vector<unsigned char> answer_to(std::vector<unsigned char> message, std::string& name)
{
    constexpr std::size_t header = 12;
    char text[256];
    must(::dn_expand(message.data(), message.data() + message.size(), message.data() + header, text, sizeof text));
    name = text;
    const auto question = header + static_cast<std::size_t>(
                                       must(::dn_skipname(message.data() + header, message.data() + message.size())));
    message.resize(question + 4); // the name, the type, the class
    const bool exists = !name.starts_with("nothing");
    constexpr std::array<unsigned char, 4> flags{0x81, 0x80, 0, 1}; // an answer, and one question
    std::ranges::copy(flags, message.begin() + 2);
    message[3] = static_cast<unsigned char>(exists ? 0x80 : 0x83);
    message[7] = exists;
    std::fill(message.begin() + 8, message.begin() + header, static_cast<unsigned char>(0));
    if (exists)
        for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7}) // RFC 1035, 4.1.3
            message.push_back(static_cast<unsigned char>(byte));
    return message;
}

/// Answers `questions` of them, each after `when(name)`.
companion serve_names(stage& on, int questions, std::function<void(const std::string& name)> when)
{
    const int socket = on.own(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(53);
    must(::bind(socket, generic(address), sizeof address));
    return on.start([&on, socket, questions, when = std::move(when)] {
        for (int i = 0; i < questions; ++i) {
            std::vector<unsigned char> message(1024);
            sockaddr_in asker{};
            socklen_t size = sizeof asker;
            message.resize(static_cast<std::size_t>(must(
                ::recvfrom(socket, message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&asker), &size))));
            std::string name;
            const auto answer = answer_to(std::move(message), name);
            when(name);
            must(::sendto(socket, answer.data(), answer.size(), 0, generic(asker), size));
        }
        on.close(socket);
    });
}

/// The body waits for the answer.
auto noted(stage& on)
{
    return [&on](const std::string& name) {
        on.until_waiting();
        on.note("asked for", name);
    };
}

/// The address is what an answer of ours ends with.
std::string address_in(const unsigned char* answer, int size)
{
    char text[INET_ADDRSTRLEN];
    return size < 4 ? "nothing" : ::inet_ntop(AF_INET, answer + size - 4, text, sizeof text);
}

/// What res_nsend and its kin use: the program's own.
class resolver_state {
public:
    resolver_state() { must(::res_ninit(&state_)); }
    resolver_state(const resolver_state&) = delete;
    resolver_state& operator=(const resolver_state&) = delete;
    ~resolver_state() { ::res_nclose(&state_); }
    res_state get() noexcept { return &state_; }

private:
    struct __res_state state_ = {};
};

struct ask {
    const char* name;
    int (*call)(const char* name, unsigned char* answer, int size);
};

/// `name` is without its domain.
const ask asks[]{
    {"res_query",
     [](const char* name, unsigned char* answer, int size) {
         return ::res_query((std::string{name} + ".test.example").c_str(), C_IN, T_A, answer, size);
     }},
    {"res_search",
     [](const char* name, unsigned char* answer, int size) {
         return ::res_search((std::string{name} + ".test.example.").c_str(), C_IN, T_A, answer, size);
     }},
    {"res_querydomain", [](const char* name, unsigned char* answer,
                           int size) { return ::res_querydomain(name, "test.example", C_IN, T_A, answer, size); }},
    {"res_send",
     [](const char* name, unsigned char* answer, int size) {
         unsigned char message[512];
         const int length = must(::res_mkquery(QUERY, (std::string{name} + ".test.example").c_str(), C_IN, T_A, nullptr,
                                               0, nullptr, message, sizeof message));
         return ::res_send(message, length, answer, size);
     }},
    {"res_nquery",
     [](const char* name, unsigned char* answer, int size) {
         resolver_state state;
         return ::res_nquery(state.get(), (std::string{name} + ".test.example").c_str(), C_IN, T_A, answer, size);
     }},
    {"res_nsearch",
     [](const char* name, unsigned char* answer, int size) {
         resolver_state state;
         return ::res_nsearch(state.get(), (std::string{name} + ".test.example.").c_str(), C_IN, T_A, answer, size);
     }},
    {"res_nquerydomain",
     [](const char* name, unsigned char* answer, int size) {
         resolver_state state;
         return ::res_nquerydomain(state.get(), name, "test.example", C_IN, T_A, answer, size);
     }},
    {"res_nsend",
     [](const char* name, unsigned char* answer, int size) {
         resolver_state state;
         unsigned char message[512];
         const int length = must(::res_nmkquery(state.get(), QUERY, (std::string{name} + ".test.example").c_str(), C_IN,
                                                T_A, nullptr, 0, nullptr, message, sizeof message));
         return ::res_nsend(state.get(), message, length, answer, size);
     }},
};

/// One that getaddrinfo_a is to look up.
struct look_up {
    explicit look_up(const char* name)
    {
        hints.ai_family = AF_INET;
        hints.ai_socktype = SOCK_STREAM;
        request.ar_name = name;
        request.ar_request = &hints;
    }
    look_up(const look_up&) = delete;
    look_up& operator=(const look_up&) = delete;
    ~look_up()
    {
        if (request.ar_result)
            ::freeaddrinfo(request.ar_result);
    }
    std::string result()
    {
        if (const int error = ::gai_error(&request); error != 0)
            return error == EAI_INPROGRESS ? "in progress" : error == EAI_NONAME ? "no such name" : "another error";
        char text[INET_ADDRSTRLEN];
        const auto* found = reinterpret_cast<const sockaddr_in*>(request.ar_result->ai_addr);
        return ::inet_ntop(AF_INET, &found->sin_addr, text, sizeof text);
    }

    addrinfo hints{};
    gaicb request{};
};

} // namespace

TEST_CASE("who asks a name server waits for its answer, and others run meanwhile") {
    for (const auto& each : asks) {
        CAPTURE(std::string{each.name});
        CHECK(native_diff([&](stage& on) {
                  auto serving = serve_names(on, 1, noted(on));
                  std::array<unsigned char, 512> answer{};
                  const int size = on.record("size", [&] { return each.call("both", answer.data(), 512); });
                  on.note(address_in(answer.data(), size));
                  serving.join();
              }) == "asked for both.test.example\nsize 51, and errno is 0\n192.0.2.7\n");
    }
}

TEST_CASE("who asks for a name that there is not is told so") {
    for (const auto& each : asks) {
        const bool only_sends = std::string{each.name}.ends_with("send");
        CAPTURE(std::string{each.name});
        CHECK(native_diff([&](stage& on) {
                  auto serving = serve_names(on, 1, noted(on));
                  std::array<unsigned char, 512> answer{};
                  h_errno = 0;
                  on.note(each.call("nothing", answer.data(), 512));
                  on.note(h_errno);
                  serving.join();
              }) ==
              (only_sends ? "asked for nothing.test.example\n38\n0\n" : "asked for nothing.test.example\n-1\n1\n"));
    }
}

TEST_CASE("a name without dots is searched for in the domains of the state that is given") {
    CHECK(native_diff([](stage& on) {
              auto serving = serve_names(on, 2, noted(on));
              std::array<unsigned char, 512> answer{};
              resolver_state state;
              std::strcpy(state.get()->defdname, "of.its.own");
              state.get()->dnsrch[0] = state.get()->defdname;
              state.get()->dnsrch[1] = nullptr;
              on.note(::res_nsearch(state.get(), "both", C_IN, T_A, answer.data(), 512));
              on.note(::res_search("both", C_IN, T_A, answer.data(), 512));
              serving.join();
          }) == "asked for both.of.its.own\n49\nasked for both.test.example\n51\n");
}

TEST_CASE("several names are looked up at once, and waited for") {
    const threads_end end;
    CHECK(native_diff([](stage& on) {
              look_up one{"both.test.example."};
              look_up other{"nothing.test.example."};
              look_up none{"127.0.0.1"};
              gaicb* list[]{&one.request, nullptr, &other.request, &none.request};
              auto serving = serve_names(on, 2, [&](const std::string&) { on.until_waiting(); });
              on.note(::getaddrinfo_a(GAI_WAIT, list, 4, nullptr));
              serving.join();
              on.note(one.result(), other.result(), none.result());
          }) == "0\n192.0.2.7 no such name 127.0.0.1\n");
}

TEST_CASE("a look-up that has been begun is waited for, for some time or until it has been answered") {
    const threads_end end;
    const auto transcript = native_diff([](stage& on) {
        std::atomic<bool> go_on = false;
        look_up one{"both.test.example."};
        gaicb* list[]{&one.request};
        const gaicb* const waited_for[]{nullptr, &one.request};
        auto serving = serve_names(on, 1, [&](const std::string&) {
            on.until(go_on);
            on.until_waiting();
        });
        on.note(::getaddrinfo_a(GAI_NOWAIT, list, 1, nullptr));
        const timespec little{.tv_sec = 0, .tv_nsec = 1'000'000};
        on.note(::gai_suspend(waited_for, 2, &little)); // glibc 2.36 does not say EAI_AGAIN
        on.note(one.result());
        go_on = true;
        on.note(::gai_suspend(waited_for, 2, nullptr));
        on.note(one.result());
        on.note(::gai_suspend(waited_for, 2, nullptr) == EAI_ALLDONE);
        serving.join();
    });
    CHECK(transcript.starts_with("0\n-"));
    CHECK(transcript.ends_with("\nin progress\n0\n192.0.2.7\n1\n"));
}
