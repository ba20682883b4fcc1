// SPDX-License-Identifier: BSL-1.0
// The resolver itself: res_query and its kin. Those that use the thread's own resolver state use the helper's instead,
// on copies, and can be left; those that are given a state use that, and are waited for.
#include "entry_lookup.hpp"
#include "interpose.hpp"
#include "libc.hpp"

#include <resolv.h>

namespace coir {

namespace {

/// `Ask` owns its arguments: int(unsigned char* answer, int size).
template <class Ask> struct question {
    Ask ask;
    std::vector<unsigned char> answer;
    int result = 0;

    void operator()() { result = ask(answer.data(), static_cast<int>(answer.size())); }
};

template <class Ask> int ask_elsewhere(Ask ask, unsigned char* answer, int size) noexcept
{
    try {
        wake_cause cause;
        const auto room = static_cast<size_t>(std::max(size, 0));
        auto done = abandonable<question<Ask>>::run_on_helper({ask, std::vector<unsigned char>(room)}, cause);
        if (!done) {
            errno = errno_of(cause);
            h_errno = NETDB_INTERNAL;
            return -1;
        }
        const auto filled = std::min(room, static_cast<size_t>(std::max(done->result, 0)));
        std::copy_n(done->answer.begin(), filled, answer);
        return done->result;
    } catch (...) {
        return ask(answer, size); // no helper thread could be started: block, rather than fail
    }
}

/// With the caller's own state, which nobody may touch once the caller has gone on.
template <class Ask> int ask_and_stay(Ask&& ask) noexcept
{
    int error = h_errno;
    const int result = on_helper([&] {
        h_errno = error;
        const int answer = ask();
        error = h_errno;
        return answer;
    });
    h_errno = error;
    return result;
}

} // namespace

COIR_INTERPOSE int res_query(const char* name, int kind, int type, unsigned char* answer, int size) noexcept
{
    if (outside())
        return libc.res_query(name, kind, type, answer, size);
    return ask_elsewhere(
        [owned = std::string{name}, kind, type](unsigned char* to, int room) {
            return libc.res_query(owned.c_str(), kind, type, to, room);
        },
        answer, size);
}

COIR_INTERPOSE int res_search(const char* name, int kind, int type, unsigned char* answer, int size) noexcept
{
    if (outside())
        return libc.res_search(name, kind, type, answer, size);
    return ask_elsewhere(
        [owned = std::string{name}, kind, type](unsigned char* to, int room) {
            return libc.res_search(owned.c_str(), kind, type, to, room);
        },
        answer, size);
}

COIR_INTERPOSE int res_querydomain(const char* name, const char* domain, int kind, int type, unsigned char* answer,
                                   int size) noexcept
{
    if (outside())
        return libc.res_querydomain(name, domain, kind, type, answer, size);
    return ask_elsewhere(
        [owned = std::string{name}, in = optional_string{domain}, kind, type](unsigned char* to, int room) {
            return libc.res_querydomain(owned.c_str(), in.get(), kind, type, to, room);
        },
        answer, size);
}

COIR_INTERPOSE int res_send(const unsigned char* message, int message_size, unsigned char* answer, int size) noexcept
{
    if (outside() || message_size < 0)
        return libc.res_send(message, message_size, answer, size);
    return ask_elsewhere(
        [owned = std::vector<unsigned char>(message, message + message_size)](unsigned char* to, int room) {
            return libc.res_send(owned.data(), static_cast<int>(owned.size()), to, room);
        },
        answer, size);
}

COIR_INTERPOSE int res_nquery(res_state state, const char* name, int kind, int type, unsigned char* answer,
                              int size) noexcept
{
    if (outside())
        return libc.res_nquery(state, name, kind, type, answer, size);
    return ask_and_stay([&] { return libc.res_nquery(state, name, kind, type, answer, size); });
}

COIR_INTERPOSE int res_nsearch(res_state state, const char* name, int kind, int type, unsigned char* answer,
                               int size) noexcept
{
    if (outside())
        return libc.res_nsearch(state, name, kind, type, answer, size);
    return ask_and_stay([&] { return libc.res_nsearch(state, name, kind, type, answer, size); });
}

COIR_INTERPOSE int res_nquerydomain(res_state state, const char* name, const char* domain, int kind, int type,
                                    unsigned char* answer, int size) noexcept
{
    if (outside())
        return libc.res_nquerydomain(state, name, domain, kind, type, answer, size);
    return ask_and_stay([&] { return libc.res_nquerydomain(state, name, domain, kind, type, answer, size); });
}

COIR_INTERPOSE int res_nsend(res_state state, const unsigned char* message, int message_size, unsigned char* answer,
                             int size) noexcept
{
    if (outside())
        return libc.res_nsend(state, message, message_size, answer, size);
    return ask_and_stay([&] { return libc.res_nsend(state, message, message_size, answer, size); });
}

} // namespace coir
