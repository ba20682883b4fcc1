// SPDX-License-Identifier: BSL-1.0
// Random connections over TCP and Unix sockets, to listeners with and without room, and to none: in a fiber as on a
// thread.
#include "descriptors.hpp"
#include "random.hpp"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>

namespace {

struct address {
    sockaddr_storage name{};
    socklen_t size = 0;
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

template <class Name> address address_of(const Name& name)
{
    address result{.name = {}, .size = sizeof name};
    std::memcpy(&result.name, &name, sizeof name);
    return result;
}

/// A name in the kernel's own space for them, which needs no file.
address missing_name()
{
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strcpy(name.sun_path + 1, "coir tests: nobody listens");
    return address_of(name);
}

class listener {
public:
    listener(stage& on, generator& random, int family, int type) : family_{family}, type_{type}
    {
        backlog_ = below(random, 3);
        if (family == AF_INET) {
            const auto made = listen_tcp(on, backlog_);
            descriptor_ = made.descriptor;
            where_ = address_of(made.address);
        } else {
            descriptor_ = on.own(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
            const sa_family_t chosen_by_kernel = AF_UNIX;
            must(::bind(descriptor_, reinterpret_cast<const sockaddr*>(&chosen_by_kernel), sizeof chosen_by_kernel));
            must(::listen(descriptor_, backlog_));
            where_.size = sizeof where_.name;
            must(::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&where_.name), &where_.size));
        }
        set_timeout(descriptor_, SO_RCVTIMEO, 3);
    }

    int descriptor() const { return descriptor_; }
    const address& where() const { return where_; }
    int family() const { return family_; }
    int type() const { return type_; }
    /// One more than the backlog: so the kernel counts.
    bool has_room() const { return static_cast<int>(queue.size()) <= backlog_; }
    /// A connection of TCP that is made for the client is made for the server a little later.
    void settle() const
    {
        for (tcp_info info{}; family_ == AF_INET;) {
            socklen_t size = sizeof info;
            must(::getsockopt(descriptor_, IPPROTO_TCP, TCP_INFO, &info, &size));
            if (info.tcpi_unacked == queue.size())
                break;
            ::usleep(100);
        }
    }

    std::deque<int> queue; ///< connected and not accepted, in order

private:
    int family_;
    int type_;
    int backlog_;
    int descriptor_;
    address where_;
};

class listeners {
public:
    listeners(stage& on, generator& random) : on_{on}, random_{random}
    {
        for (int count = 1 + below(random, 3); count > 0; --count)
            switch (below(random, 3)) {
            case 0: all_.emplace_back(on, random, AF_INET, SOCK_STREAM); break;
            case 1: all_.emplace_back(on, random, AF_UNIX, SOCK_STREAM); break;
            case 2: all_.emplace_back(on, random, AF_UNIX, SOCK_SEQPACKET); break;
            }
    }

    void connect_at_random()
    {
        auto& to = any();
        const int client = socket_for(to);
        if (one_in(random_, 3))
            connect_without_waiting(client, to);
        else if (!to.has_room() && one_in(random_, 2))
            connect_and_wait_for_room(client, to);
        else
            connected(client, to, on_.record("connect", [&] { return connect_to(client, to); }));
    }

    void be_refused_at_random()
    {
        auto& other = any();
        const int tcp = on_.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int local = on_.own(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const auto refused = address_of(refused_port());
        const auto missing = missing_name();
        const int wrong_type = other.type() == SOCK_STREAM ? SOCK_SEQPACKET : SOCK_STREAM;
        const auto attempt = [&](int socket, const address& to) {
            set_timeout(socket, SO_SNDTIMEO, 1000);
            if (one_in(random_, 4))
                set_nonblocking(socket, true);
            for (int times = 1 + below(random_, 2); times > 0; --times) {
                const int result = on_.record("refused", [&] { return ::connect(socket, to.get(), to.size); });
                if (result == -1 && errno == EINPROGRESS) {
                    on_.note(" ready", ready(socket, POLLOUT, 10'000));
                    on_.note(" ", error_of(socket));
                }
            }
            on_.close(socket);
        };
        switch (below(random_, 4)) {
        case 0: attempt(tcp, refused); break;
        case 1: attempt(local, missing); break;
        case 2: attempt(local, refused); break; // another family
        case 3:
            if (other.family() == AF_UNIX)
                attempt(on_.own(::socket(AF_UNIX, wrong_type | SOCK_CLOEXEC, 0)), other.where());
            break;
        }
    }

    void accept_at_random()
    {
        auto& from = any();
        if (one_in(random_, 10)) {
            on_.record("flags", [&] { return ::accept4(from.descriptor(), nullptr, nullptr, 1 << 20); });
            return;
        }
        const bool nonblocking = from.queue.empty() && one_in(random_, 4);
        if (nonblocking)
            set_nonblocking(from.descriptor(), true);
        std::vector<companion> connecting;
        if (from.queue.empty() && !nonblocking && one_in(random_, 3)) {
            set_timeout(from.descriptor(), SO_RCVTIMEO, 0);
            const int client = socket_for(from);
            from.queue.push_back(client);
            connecting.push_back(on_.start([this, client, &from] {
                on_.until_waiting();
                must(::connect(client, from.where().get(), from.where().size));
            }));
        }
        accept_from(from, std::move(connecting));
        set_timeout(from.descriptor(), SO_RCVTIMEO, 3);
        if (nonblocking)
            set_nonblocking(from.descriptor(), false);
    }

    void leave_at_random()
    {
        auto& from = any();
        if (from.queue.empty())
            return;
        auto& client = one_of_queue(from);
        if (client == gone)
            return;
        if (one_in(random_, 2)) {
            const linger reset{.l_onoff = 1, .l_linger = 0};
            must(::setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
        }
        on_.close(client);
        client = gone;
    }

    void stop_listening_at_random()
    {
        auto& which = any();
        on_.record("shutdown", [&] { return ::shutdown(which.descriptor(), SHUT_RDWR); });
        on_.note(" ready", ready(which.descriptor(), POLLIN, 0));
        // A Unix socket still gives what was in its queue.
        for (int server = 0; server != -1;)
            if (server = on_.record_ok("accept", [&] { return ::accept(which.descriptor(), nullptr, nullptr); });
                server != -1)
                on_.own(server);
        const int client = socket_for(which);
        on_.record("connect", [&] { return connect_to(client, which); });
    }

private:
    static constexpr int gone = -1;

    listener& any() { return all_[random_() % all_.size()]; }
    int& one_of_queue(listener& from) { return from.queue[random_() % from.queue.size()]; }

    int socket_for(const listener& to)
    {
        const int client = on_.own(::socket(to.family(), to.type() | SOCK_CLOEXEC, 0));
        set_timeout(client, SO_SNDTIMEO, to.has_room() ? 10'000 : 3);
        return client;
    }

    static int connect_to(int client, const listener& to)
    {
        return ::connect(client, to.where().get(), to.where().size);
    }

    static bool ready(int descriptor, short events, int timeout)
    {
        pollfd item{.fd = descriptor, .events = events, .revents = 0};
        return ::poll(&item, 1, timeout) != 0;
    }

    static std::string error_of(int socket)
    {
        int error = -1;
        socklen_t size = sizeof error;
        must(::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size));
        return stage::error_name(error);
    }

    void connected(int client, listener& to, int result)
    {
        if (result != 0) {
            on_.close(client);
            return;
        }
        to.queue.push_back(client);
        to.settle();
        set_timeout(client, SO_SNDTIMEO, 3); // a Unix socket looks for room before it finds that it is connected
        if (one_in(random_, 4))
            on_.record("again", [&] { return connect_to(client, to); });
    }

    void connect_without_waiting(int client, listener& to)
    {
        set_nonblocking(client, true);
        int result = on_.record("start", [&] { return connect_to(client, to); });
        if (result == -1 && errno == EINPROGRESS) {
            if (one_in(random_, 3)) { // and then waits after all
                set_nonblocking(client, false);
                result = on_.record("wait", [&] { return connect_to(client, to); });
            } else {
                on_.note(" ready", ready(client, POLLOUT, to.has_room() ? 10'000 : 3));
                on_.note(" ", error_of(client));
                result = to.has_room() ? 0 : -1;
            }
        }
        set_nonblocking(client, false);
        connected(client, to, result);
    }

    /// Who accepts makes room.
    void connect_and_wait_for_room(int client, listener& to)
    {
        if (to.family() == AF_INET) { // would be tried again by the kernel a second later
            on_.close(client);
            return;
        }
        set_timeout(client, SO_SNDTIMEO, 0);
        auto makes_room = on_.start([&] {
            on_.until_waiting();
            accept_from(to);
        });
        errno = 0;
        const int result = connect_to(client, to);
        const int error = errno;
        makes_room.join(); // who has its own lines to write
        on_.note("for room", result, stage::error_name(error));
        connected(client, to, result);
    }

    void accept_from(listener& from, std::vector<companion> connecting = {})
    {
        const int flags = some_of(random_, {SOCK_NONBLOCK, SOCK_CLOEXEC}, 2);
        sockaddr_storage name{};
        socklen_t size = one_in(random_, 3) ? sizeof(sa_family_t) : static_cast<socklen_t>(sizeof name);
        const bool named = !one_in(random_, 3);
        auto* const to = named ? reinterpret_cast<sockaddr*>(&name) : nullptr;
        auto* const to_size = named ? &size : nullptr;
        const int server =
            flags == 0 && one_in(random_, 2)
                ? on_.record_ok("accept", [&] { return ::accept(from.descriptor(), to, to_size); })
                : on_.record_ok("accept4", [&] { return ::accept4(from.descriptor(), to, to_size, flags); });
        if (named)
            on_.note(" ", name.ss_family, size);
        connecting.clear();
        if (server == -1)
            return;
        on_.own(server);
        on_.note(" ", is_nonblocking(server), ::fcntl(server, F_GETFD));
        set_nonblocking(server, false);
        const int client = from.queue.front();
        from.queue.pop_front();
        char word[4]{};
        if (client != gone)
            on_.record("send", [&] { return ::send(client, "word", 4, 0); });
        on_.record("recv", [&] { return ::recv(server, word, 4, MSG_WAITALL); });
        on_.note(" ", std::string_view{word, 4} == "word");
        on_.close(server);
        if (client != gone)
            on_.close(client);
        from.settle();
    }

    stage& on_;
    generator& random_;
    std::vector<listener> all_;
};

} // namespace

TEST_CASE("random connections are made, refused and left waiting in a fiber as on a thread") {
    native_diff_at_random(60, [](stage& on, generator& random) {
        listeners all{on, random};
        for (int i = 0; i < 25; ++i) {
            const int kind = below(random, 20);
            if (kind < 9)
                all.connect_at_random();
            else if (kind < 11)
                all.be_refused_at_random();
            else if (kind < 18)
                all.accept_at_random();
            else
                all.leave_at_random();
        }
        all.stop_listening_at_random();
    });
}
