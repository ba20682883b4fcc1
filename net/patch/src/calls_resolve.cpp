// SPDX-License-Identifier: BSL-1.0
// Names. libc resolves them with sockets of its own, which no symbol reaches, and keeps state per thread that two
// fibers must not share; so the genuine function runs on a helper thread, with all of its rules: hosts file, search
// list, NSS modules. What needs no look-up is answered at once. A fiber that is cancelled leaves; the helper then
// finishes for nobody.
#include "interpose.hpp"
#include "libc.hpp"
#include "on_helper.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace coir {

namespace {

/// A C string that may be null.
class optional_string {
public:
    explicit optional_string(const char* text) : present_{text != nullptr}, text_{text ? text : ""} {}
    const char* get() const noexcept { return present_ ? text_.c_str() : nullptr; }

private:
    bool present_;
    std::string text_;
};

int errno_of(wake_cause cause) noexcept
{
    return cause == wake_cause::deadline ? ETIMEDOUT : ECANCELED;
}

// ---- getaddrinfo ----------------------------------------------------------------------------------------------------

struct address_lookup {
    optional_string node;
    optional_string service;
    bool has_hints;
    addrinfo hints;
    struct free_list {
        void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
    };
    std::unique_ptr<addrinfo, free_list> found;
    int result = 0;

    address_lookup(const char* name, const char* port, const addrinfo* wanted)
        : node{name}, service{port}, has_hints{wanted != nullptr}, hints{wanted ? *wanted : addrinfo{}}
    {
    }
    void operator()()
    {
        addrinfo* list = nullptr;
        result = libc.getaddrinfo(node.get(), service.get(), has_hints ? &hints : nullptr, &list);
        if (result == 0)
            found.reset(list);
    }
};

/// Tries it as a number; EAI_NONAME says that there is more to it.
int numeric_address(const char* node, const char* service, const addrinfo* hints, addrinfo** found) noexcept
{
    addrinfo numeric{};
    if (hints)
        numeric = *hints;
    else
        numeric.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG; // glibc's default (getaddrinfo(3))
    numeric.ai_flags |= AI_NUMERICHOST;
    return libc.getaddrinfo(node, service, &numeric, found);
}

// ---- getnameinfo ----------------------------------------------------------------------------------------------------

struct name_lookup {
    sockaddr_storage address{};
    socklen_t address_size;
    std::vector<char> host;
    std::vector<char> service;
    int flags;
    int result = 0;

    /// With what the caller's buffers contain: a look-up that fails may leave them alone, or have filled one.
    name_lookup(const sockaddr* of, socklen_t size, std::span<const char> host_buffer,
                std::span<const char> service_buffer, int options)
        : address_size{std::min<socklen_t>(size, sizeof address)},
          host{host_buffer.begin(), host_buffer.end()},
          service{service_buffer.begin(), service_buffer.end()},
          flags{options}
    {
        std::memcpy(&address, of, address_size);
    }
    void operator()()
    {
        result = libc.getnameinfo(reinterpret_cast<const sockaddr*>(&address), address_size, host.data(),
                                  static_cast<socklen_t>(host.size()), service.data(),
                                  static_cast<socklen_t>(service.size()), flags);
    }
};

// ---- gethostbyname --------------------------------------------------------------------------------------------------

struct host_lookup {
    std::string name;
    std::vector<char> memory;
    char* room; ///< at the same distance from an aligned address as the caller's, so that things fall into place alike
    size_t room_size;
    hostent entry{};
    hostent* found = nullptr;
    int result = 0;
    int error = 0;

    host_lookup(const char* wanted, const char* callers, size_t size)
        : name{wanted},
          memory(size + alignof(std::max_align_t)),
          room{memory.data() + reinterpret_cast<std::uintptr_t>(callers) % alignof(std::max_align_t)},
          room_size{size}
    {
    }
    void operator()() { result = libc.gethostbyname_r(name.c_str(), &entry, room, room_size, &found, &error); }
};

/// Moves an entry, whose pointers lead into `from`, to `to`.
void relocate(hostent& entry, const char* from, char* to, size_t size) noexcept
{
    std::memcpy(to, from, size);
    const auto move = [&](auto*& pointer) {
        const auto* address = reinterpret_cast<const char*>(pointer);
        if (address >= from && address < from + size)
            pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(to + (address - from));
    };
    move(entry.h_name);
    move(entry.h_aliases);
    move(entry.h_addr_list);
    // In the answer to a number, glibc does not align its arrays.
    const auto move_all = [&](char** list) {
        for (auto* place = reinterpret_cast<char*>(list); place; place += sizeof(char*)) {
            char* each;
            std::memcpy(&each, place, sizeof each);
            if (!each)
                return;
            move(each);
            std::memcpy(place, &each, sizeof each);
        }
    };
    move_all(entry.h_aliases);
    move_all(entry.h_addr_list);
}

} // namespace

COIR_INTERPOSE int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** found)
{
    if (outside() || !node || (hints && hints->ai_flags & AI_NUMERICHOST))
        return libc.getaddrinfo(node, service, hints, found);
    if (const int result = numeric_address(node, service, hints, found); result != EAI_NONAME)
        return result;
    try {
        wake_cause cause;
        auto done = abandonable<address_lookup>::run_on_helper(address_lookup{node, service, hints}, cause);
        if (!done) {
            errno = errno_of(cause);
            return EAI_SYSTEM;
        }
        if (done->result == 0)
            *found = done->found.release();
        return done->result;
    } catch (const std::bad_alloc&) {
        return EAI_MEMORY;
    } catch (...) {
        return libc.getaddrinfo(node, service, hints,
                                found); // no helper thread could be started: block, rather than fail
    }
}

COIR_INTERPOSE int getnameinfo(const sockaddr* address, socklen_t size, char* host, socklen_t host_size, char* service,
                               socklen_t service_size, int flags)
{
    const bool asks_host = host && host_size && !(flags & NI_NUMERICHOST);
    if (outside() || !asks_host || !address)
        return libc.getnameinfo(address, size, host, host_size, service, service_size, flags);
    try {
        wake_cause cause;
        auto done = abandonable<name_lookup>::run_on_helper(
            name_lookup{address, size, {host, host_size}, {service, service ? service_size : 0}, flags}, cause);
        if (!done) {
            errno = errno_of(cause);
            return EAI_SYSTEM;
        }
        std::ranges::copy(done->host, host);
        std::ranges::copy(done->service, service);
        return done->result;
    } catch (const std::bad_alloc&) {
        return EAI_MEMORY;
    } catch (...) {
        return libc.getnameinfo(address, size, host, host_size, service, service_size, flags);
    }
}

COIR_INTERPOSE int gethostbyname_r(const char* name, hostent* entry, char* room, size_t size, hostent** found,
                                   int* error)
{
    if (outside() || !name)
        return libc.gethostbyname_r(name, entry, room, size, found, error);
    try {
        wake_cause cause;
        auto done = abandonable<host_lookup>::run_on_helper(host_lookup{name, room, size}, cause);
        if (!done) {
            *found = nullptr;
            *error = NETDB_INTERNAL;
            return errno = errno_of(cause);
        }
        *entry = done->entry;
        *error = done->error;
        *found = done->found ? entry : nullptr;
        if (done->found)
            relocate(*entry, done->room, room, size);
        return done->result;
    } catch (...) {
        return libc.gethostbyname_r(name, entry, room, size, found, error);
    }
}

COIR_INTERPOSE hostent* gethostbyname(const char* name)
{
    if (outside() || !name)
        return libc.gethostbyname(name);
    // As libc's own, the result is static and the next call overwrites it; one for each thread, as little as POSIX
    // asks.
    thread_local std::vector<char> room(1024);
    thread_local hostent entry;
    hostent* found = nullptr;
    for (;;) {
        std::vector<char> mine(room.size());
        hostent answer{};
        int error = 0;
        const int result = coir::gethostbyname_r(name, &answer, mine.data(), mine.size(), &found, &error);
        if (result == ERANGE && mine.size() < (1 << 20)) {
            room.resize(std::max(room.size(), mine.size() * 2));
            continue;
        }
        if (!found) {
            h_errno = error;
            return nullptr;
        }
        room.resize(std::max(room.size(), mine.size()));
        relocate(answer, mine.data(), room.data(), mine.size());
        entry = answer;
        return &entry;
    }
}

} // namespace coir
