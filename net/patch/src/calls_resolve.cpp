// SPDX-License-Identifier: BSL-1.0
// Names. libc resolves them with sockets of its own, which no symbol reaches, and keeps state per thread that two
// fibers must not share; so the genuine function runs on a helper thread, with all of its rules: hosts file, search
// list, NSS modules. What needs no look-up is answered at once. A fiber that is cancelled leaves; the helper then
// finishes for nobody.
#include "entry_lookup.hpp"
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

// Requests that a thread of libc's works on. They can be waited for only by blocking.

COIR_INTERPOSE int getaddrinfo_a(int mode, gaicb* list[], int count, sigevent* event)
{
    if (outside() || mode != GAI_WAIT)
        return libc.getaddrinfo_a(mode, list, count, event);
    return on_helper([&] { return libc.getaddrinfo_a(mode, list, count, event); });
}

COIR_INTERPOSE int gai_suspend(const gaicb* const list[], int count, const timespec* time)
{
    if (outside())
        return libc.gai_suspend(list, count, time);
    return on_helper([&] { return libc.gai_suspend(list, count, time); });
}

} // namespace coir
